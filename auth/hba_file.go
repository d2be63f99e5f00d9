package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// LoadHBA reads a file in the format of pg_hba.conf and, if identPath is not empty, one in that of pg_ident.conf. The error lists
// every fault of both, one a line, with its place and a remedy.
func LoadHBA(path, identPath string) (*HBA, error) {
	return parseHBA(path, identPath, lineReader{read: os.ReadFile, list: configFiles})
}

// parseHBA is LoadHBA with another way to read files.
func parseHBA(path, identPath string, files lineReader) (*HBA, error) {
	h := &HBA{maps: identMaps{}}
	var faults []error
	lines, err := files.lines(path, 0)
	faults = append(faults, err)
	if identPath != "" {
		faults = append(faults, h.maps.load(identPath, files))
	}
	for _, l := range lines {
		r, err := parseRule(l)
		if err == nil && r.mapName != "" && h.maps[r.mapName] == nil {
			err = fmt.Errorf("map=%s: there is no such map in the file that auth_ident_file names", r.mapName)
		}
		if err != nil {
			faults = append(faults, l.fault(err))
			continue
		}
		h.rules = append(h.rules, r)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return h, nil
}

// configFiles returns the files that include_dir includes: *.conf without the hidden ones, sorted by name.
func configFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".conf") && !strings.HasPrefix(n, ".") && !e.IsDir() {
			files = append(files, filepath.Join(dir, n))
		}
	}
	return files, nil
}

var transports = map[string]transport{
	"local": overSocket, "host": overAny, "hostssl": overTLS, "hostnossl": overNoTLS, "hostnogssenc": overAny,
}

// fieldReader hands out the fields of a line in turn.
type fieldReader struct{ fields [][]token }

func (f *fieldReader) next(what string) ([]token, error) {
	if len(f.fields) == 0 {
		return nil, fmt.Errorf("the line ends before its %s", what)
	}
	field := f.fields[0]
	f.fields = f.fields[1:]
	return field, nil
}

// one returns the next field, which may not be a list.
func (f *fieldReader) one(what string) (token, error) {
	field, err := f.next(what)
	if err != nil {
		return token{}, err
	}
	if len(field) != 1 {
		return token{}, fmt.Errorf("only one %s may stand in a line; write a line for each", what)
	}
	return field[0], nil
}

func parseRule(l hbaLine) (r hbaRule, err error) {
	r = hbaRule{file: l.file, line: l.line}
	f := &fieldReader{l.fields}
	word, err := f.one("connection type")
	if err != nil {
		return r, err
	}
	var known bool
	if r.transport, known = transports[word.text]; !known {
		if word.text == "hostgssenc" {
			return r, errors.New("hostgssenc: GSSAPI encryption is not spoken here; remove the line")
		}
		return r, fmt.Errorf("unknown connection type %q; use local, host, hostssl or hostnossl", word.text)
	}
	if r.databases, err = f.next("databases"); err != nil {
		return r, err
	}
	if r.users, err = f.next("users"); err != nil {
		return r, err
	}
	if err := r.checkNames(); err != nil {
		return r, err
	}
	if r.transport != overSocket {
		if r.from, err = parseSource(f); err != nil {
			return r, err
		}
	}
	return r, r.parseMethod(f)
}

// checkNames refuses names that only PostgreSQL's catalogs, or a later version of PostgreSQL, could resolve.
func (r *hbaRule) checkNames() error {
	for _, d := range r.databases {
		if d.is("samerole") || d.is("samegroup") {
			return fmt.Errorf("%s: the pooler does not know who is a member of which role; name the databases and users", d.text)
		}
	}
	for _, u := range r.users {
		if !u.quoted && strings.HasPrefix(u.text, "+") {
			return fmt.Errorf("%s: the pooler does not know the members of a role; name the users, or list them in a file: @users.txt", u.text)
		}
	}
	for _, n := range slices.Concat(r.databases, r.users) {
		if !n.quoted && strings.HasPrefix(n.text, "/") {
			return fmt.Errorf("%s: regular expressions are not supported here; write the names out, or put the name into double quotes", n.text)
		}
	}
	return nil
}

// parseSource reads the address of a line, and its mask if that is a field of its own.
func parseSource(f *fieldReader) (source, error) {
	word, err := f.one("address")
	if err != nil {
		return source{}, err
	}
	switch {
	case word.is("all"):
		return source{kind: fromAnywhere}, nil
	case word.is("samehost"):
		return source{kind: fromSameHost}, nil
	case word.is("samenet"):
		return source{kind: fromSameNet}, nil
	}
	text, bits, slash := strings.Cut(word.text, "/")
	s := source{kind: fromNetwork}
	if s.addr, err = netip.ParseAddr(text); err != nil {
		return s, fmt.Errorf("%q is not an address; host names are not looked up here, write the address and its mask: 10.0.0.0/8, ::1/128, all, samehost or samenet", word.text)
	}
	s.addr = s.addr.WithZone("")
	if slash {
		n, err := strconv.ParseUint(bits, 10, 8)
		if err != nil || int(n) > s.addr.BitLen() {
			return s, fmt.Errorf("%q is not a mask; write a number up to %d", bits, s.addr.BitLen())
		}
		s.mask = ones(s.addr, int(n))
		return s, nil
	}
	mask, err := f.one("mask")
	if err != nil {
		return s, fmt.Errorf("the line ends before the mask; write %s/%d for this address alone", s.addr, s.addr.BitLen())
	}
	if s.mask, err = netip.ParseAddr(mask.text); err != nil || s.mask.Is4() != s.addr.Is4() || s.mask.Zone() != "" {
		return s, fmt.Errorf("%q is not a mask for %s; write %s/%d for this address alone", mask.text, s.addr, s.addr, s.addr.BitLen())
	}
	return s, nil
}

// ones returns the mask of n ones for an address's family.
func ones(family netip.Addr, n int) netip.Addr {
	b := make([]byte, family.BitLen()/8)
	for i := range n {
		b[i/8] |= 0x80 >> (i % 8)
	}
	mask, _ := netip.AddrFromSlice(b)
	return mask
}

// hbaMethods are the words of a rule for its method. On a unix socket ident has always meant peer. scram-sha-256-plus is an addition of the
// pooler: PostgreSQL cannot require channel binding.
var hbaMethods = map[string]Method{
	"trust": Trust, "reject": Reject, "password": Password, "md5": MD5, "scram-sha-256": SCRAM, "scram-sha-256-plus": SCRAMPlus, "cert": Cert, "peer": SocketUser,
}

func (r *hbaRule) parseMethod(f *fieldReader) error {
	word, err := f.one("method")
	if err != nil {
		return err
	}
	name := word.text
	if name == "ident" && r.transport == overSocket {
		name = "peer"
	}
	var known bool
	if r.method, known = hbaMethods[name]; !known {
		return fmt.Errorf("method %q is not supported; use trust, reject, password, md5, scram-sha-256, scram-sha-256-plus, cert or peer", word.text)
	}
	switch {
	case r.method == SocketUser && r.transport != overSocket:
		return errors.New("peer works on unix sockets alone: in lines that begin with local")
	case r.method == Cert && r.transport != overTLS:
		return errors.New("cert works over TLS alone: in lines that begin with hostssl")
	case r.method == Cert:
		r.cert = certNamed
	}
	for _, field := range f.fields {
		for _, option := range field {
			if err := r.parseOption(option.text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *hbaRule) parseOption(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q stands behind the method, where options are: name=value", text)
	}
	switch name {
	case "map":
		if r.method != Cert && r.method != SocketUser {
			return errors.New("map= is for the methods cert and peer")
		}
		r.mapName = value
	case "clientcert":
		if r.transport != overTLS {
			return errors.New("clientcert= is for lines that begin with hostssl")
		}
		switch {
		case value == "verify-ca" && r.method != Cert:
			r.cert = certSigned
		case value == "verify-full":
			r.cert = certNamed
		default:
			return fmt.Errorf("clientcert=%s: use verify-full, or verify-ca with a method other than cert", value)
		}
	case "clientname":
		if r.transport != overTLS || value != "CN" {
			return fmt.Errorf("clientname=%s: only the common name (CN) of a certificate is looked at, in lines that begin with hostssl", value)
		}
	default:
		return fmt.Errorf("unknown option %q; there are map=, clientcert= and clientname=CN", name)
	}
	return nil
}
