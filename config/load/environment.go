package load

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// EnvFile is the environment name of the configuration file. The command line reads it; Config does not.
const EnvFile = config.EnvPrefix + "CONFIG"

// notSettings maps the names with our prefix that are no settings to the part that reads them.
var notSettings = map[string]string{
	EnvFile:                     "the command line",
	config.EnvPrefix + "PG_BIN": "internal/pgtest: where PostgreSQL's programs are, for the demo and tests",
}

// secretFileBytesMax bounds a file that a _FILE variable names. A secret is short, and a wrong path may name an endless file.
const secretFileBytesMax = 64 << 10

// kubernetes matches the names that Kubernetes puts into every container for a Service called hybridbouncer, such as
// HYBRIDBOUNCER_SERVICE_HOST or HYBRIDBOUNCER_PORT_6432_TCP_ADDR. They are no settings.
var kubernetes = regexp.MustCompile(`^HYBRIDBOUNCER_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// envReader copies the environment into a Config.
type envReader struct {
	config *config.Config
	values map[string]string
	faults config.Problems
}

// readEnviron puts the environment over the configuration: first the names of PgBouncer images, then our own.
func readEnviron(c *config.Config, environ []string) config.Problems {
	r := &envReader{config: c, values: map[string]string{}}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			r.values[name] = value
		}
	}
	r.images()
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if strings.HasPrefix(name, config.EnvPrefix) && notSettings[name] == "" {
			r.own(name, r.values[name])
		}
	}
	return r.faults
}

func (r *envReader) fault(name, text, near string) {
	r.faults = append(r.faults, config.Problem{File: "environment", Key: name, Text: text, Nearest: near})
}

func (r *envReader) warn(format string, args ...any) {
	r.config.Warnings = append(r.config.Warnings, fmt.Sprintf(format, args...))
}

// own reads one HYBRIDBOUNCER_ name.
func (r *envReader) own(name, value string) {
	if r.fromKubernetes(name, value) {
		return
	}
	if t, known := r.find(name); known {
		r.set(t, name, value)
		return
	}
	base, isFile := strings.CutSuffix(name, "_FILE")
	if t, known := r.find(base); isFile && known && t.Key.Secret {
		if _, both := r.values[base]; both {
			r.fault(name, "and "+base+" are both set; keep one of them", "")
			return
		}
		secret, err := r.readSecret(value)
		if err != nil {
			r.fault(name, err.Error(), "")
			return
		}
		r.set(t, name, secret)
		return
	}
	var names []string
	for _, t := range r.config.Targets() {
		names = append(names, strings.ToLower(config.EnvName(t.Path)))
	}
	r.fault(name, "no setting has this name", strings.ToUpper(config.Nearest(name, names)))
}

// find returns the setting of one of our names. It adds a database or user that only the environment names.
func (r *envReader) find(name string) (config.Target, bool) {
	for _, t := range r.config.Targets() {
		if config.EnvName(t.Path) == name {
			return t, true
		}
	}
	return r.create(name)
}

// fromKubernetes reports whether Kubernetes made the name.
func (r *envReader) fromKubernetes(name, value string) bool {
	if !kubernetes.MatchString(name) || strings.HasSuffix(name, "_PORT") && !serviceLink(value) && !strings.HasSuffix(name, "_SERVICE_PORT") {
		return false
	}
	for _, t := range r.config.Targets() {
		if config.EnvName(t.Path) == name && serviceLink(value) {
			r.warn("%s is ignored: Kubernetes set it for a Service of this name", name)
		}
	}
	return true
}

// serviceLink reports whether a value is one that Kubernetes gives to NAME_PORT of a Service.
func serviceLink(value string) bool {
	return strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://")
}

// set assigns the value of a variable. An empty value counts as not set, unless the setting is a text or a list.
func (r *envReader) set(t config.Target, name, value string) {
	switch t.Field().(type) {
	case *string, *[]string:
	default:
		if strings.TrimSpace(value) == "" {
			return
		}
	}
	if err := t.Set(config.Text(value)); err != nil {
		r.fault(name, err.Error(), "")
		return
	}
	r.config.SetOrigin(t.Path, config.Origin{Name: name})
}

// create adds the database or user of a name such as HYBRIDBOUNCER_DATABASES_REPORTS_POOL_SIZE. Its name is in lower case, because
// environment names are in capitals.
func (r *envReader) create(name string) (config.Target, bool) {
	for _, sectionName := range []string{"databases", "users"} {
		rest, ok := strings.CutPrefix(name, config.EnvName(sectionName)+"_")
		if !ok {
			continue
		}
		best := ""
		for _, key := range config.SectionNamed(sectionName).KeyNames() {
			suffix := "_" + strings.ToUpper(key)
			if strings.HasSuffix(rest, suffix) && len(suffix) > len(best) && len(rest) > len(suffix) {
				best = suffix
			}
		}
		if best == "" {
			continue
		}
		owner := strings.ToLower(strings.TrimSuffix(rest, best))
		if sectionName == "databases" {
			r.config.SetDatabase(owner, r.config.Databases[owner])
		} else {
			r.config.SetUser(owner, r.config.Users[owner])
		}
		return r.config.Target(sectionName + "." + config.QuoteName(owner) + "." + strings.ToLower(best[1:]))
	}
	return config.Target{}, false
}

// readSecret reads a secret from a file, without the line end that editors and kubectl add.
func (r *envReader) readSecret(path string) (string, error) {
	r.config.SecretFiles = append(r.config.SecretFiles, config.Watch(path))
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, secretFileBytesMax+1))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	if len(text) > secretFileBytesMax {
		return "", fmt.Errorf("the secret's file is larger than %d bytes; is it the right file?", secretFileBytesMax)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
