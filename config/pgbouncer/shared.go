package pgbouncer

import (
	"slices"
	"strconv"
	"strings"
)

// This file translates the settings that we have once for all listeners.

// fileValue is the value of one file, with its place; at has no line for PgBouncer's default.
type fileValue struct {
	value string
	at    Place
}

// shared translates the settings of settingRows that belong to no listener.
func (i *importer) shared() {
	for n := range settingRows {
		row := &settingRows[n]
		if row.to == "" || row.special != "" || strings.HasPrefix(row.to, "listener.") {
			continue
		}
		values, ok := i.valuesOf(row)
		if ok && slices.ContainsFunc(values, func(v fileValue) bool { return v.at.Line > 0 }) {
			i.mergeValues(row, values)
		}
	}
}

// valuesOf returns the converted value of each file.
func (i *importer) valuesOf(row *settingRow) (values []fileValue, ok bool) {
	for _, f := range i.files {
		value, at := f.value(row.key)
		if row.convert != nil {
			converted, note, err := row.convert(value)
			if err != nil {
				i.fault(at, row.key, "%v", err)
				return nil, false
			}
			if note != "" {
				i.note(at, row.key, "%s", note)
			}
			value = converted
		}
		values = append(values, fileValue{value, at})
	}
	return values, true
}

// differing returns the first value that differs from the first file's; nil if all agree.
func differing(values []fileValue) *fileValue {
	n := slices.IndexFunc(values, func(v fileValue) bool { return v.value != values[0].value })
	if n < 0 {
		return nil
	}
	return &values[n]
}

// mergeValues makes one setting of the values of all files.
func (i *importer) mergeValues(row *settingRow, values []fileValue) {
	places := make([]Place, len(values))
	for n := range values {
		places[n] = values[n].at
	}
	other := differing(values)
	switch row.merge {
	case equal:
		if other != nil {
			i.fault(firstSet(other.at, places[0]), row.key, "the files disagree (%s and %s), and there is one setting for all listeners here: make them equal first",
				places[0], other.at)
			return
		}
		i.set(row.to, values[0].value, row.key, places...)
	case first:
		chosen := values[max(0, slices.IndexFunc(values, func(v fileValue) bool { return v.at.Line > 0 }))]
		for _, v := range values {
			if v.at.Line > 0 && v.value != chosen.value {
				i.note(v.at, row.key, "there is one setting for all listeners here: the value of %s holds", chosen.at)
			}
		}
		i.set(row.to, chosen.value, row.key, chosen.at)
	case largest:
		chosen := slices.MaxFunc(values, func(a, b fileValue) int { return compareSizes(a.value, b.value) })
		if other != nil {
			i.note(firstSet(other.at, places[0]), row.key, "the files disagree, and there is one setting for all listeners here: the larger value, %s, holds", chosen.value)
		}
		i.set(row.to, chosen.value, row.key, chosen.at)
	case sum:
		i.sumValues(row, values, places)
	case union:
		var all []string
		for _, v := range values {
			for name := range strings.SplitSeq(v.value, ",") {
				if name = strings.TrimSpace(name); name != "" && !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
		i.set(row.to, strings.Join(all, ","), row.key, places...)
	case perFile:
		panic("bug: " + row.key + " belongs to no listener and has no merge rule")
	}
}

// compareSizes compares numbers; other values by their text. ("debug" comes before "info", which verbosity wants the other way.)
func compareSizes(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX != nil || errY != nil:
		return strings.Compare(b, a)
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// sumValues adds limits that PgBouncer counts in each process and we count over all listeners. 0 is no limit.
func (i *importer) sumValues(row *settingRow, values []fileValue, places []Place) {
	total, unlimited := addLimits(values)
	if len(values) > 1 && unlimited {
		i.note(firstSet(places...), row.key, "one file has no limit, and the limit is %s: so there is none", row.why)
	} else if len(values) > 1 {
		i.note(firstSet(places...), row.key, "the limit is %s: the sum of the files' limits, %d, holds", row.why, total)
	}
	i.set(row.to, strconv.Itoa(total), row.key, places...)
}

// addLimits adds limits; the sum is 0 if one of them is.
func addLimits(values []fileValue) (total int, unlimited bool) {
	for _, v := range values {
		n, _ := strconv.Atoi(v.value)
		total += n
		unlimited = unlimited || n == 0
	}
	if unlimited {
		return 0, true
	}
	return total, false
}

// authType translates auth_type with the files that belong to it.
func (i *importer) authType() {
	row := settingRowOf("auth_type")
	values, _ := i.valuesOf(row)
	if other := differing(values); other != nil {
		i.fault(firstSet(other.at, values[0].at), "auth_type", "the files disagree, and there is one setting for all listeners here: make them equal first; "+
			"auth_type = hba with rules by address and database can replace both")
		return
	}
	kind, at := values[0].value, values[0].at
	switch kind {
	case "plain":
		kind = "password"
	case "ldap", "pam":
		i.fault(at, "auth_type", "there is no %s in this version", kind)
		return
	case "any":
		if !i.everyDatabaseHasUser() {
			i.fault(at, "auth_type", "any ignores the client's user name, so every database needs user=; these files have databases without it")
			return
		}
		kind = "trust"
		i.note(at, "auth_type", "any becomes trust; each user name that clients use has pools of its own")
	case "trust":
		i.note(at, "auth_type", "trust lets in every user name here; PgBouncer refuses names that auth_file does not list")
	}
	i.set("auth.type", kind, "auth_type", at)
	for _, key := range []string{"auth_hba_file", "auth_ident_file"} {
		i.hbaFile(settingRowOf(key), kind)
	}
}

// hbaFile translates a file that auth_type = hba needs.
func (i *importer) hbaFile(row *settingRow, kind string) {
	values, _ := i.valuesOf(row)
	set := values[max(0, slices.IndexFunc(values, func(v fileValue) bool { return v.at.Line > 0 }))]
	switch {
	case set.at.Line == 0:
	case kind != "hba":
		i.note(set.at, row.key, "is left out: it has a meaning with auth_type = hba only")
	default:
		for n := range values {
			values[n].value, _, _ = absolute(values[n].value)
		}
		i.mergeValues(row, values)
	}
}

func (i *importer) everyDatabaseHasUser() bool {
	for _, f := range i.files {
		for _, e := range f.databases {
			pairs, _ := parsePairs(e.value)
			if !slices.ContainsFunc(pairs, func(p pair) bool { return p.key == "user" }) {
				return false
			}
		}
	}
	return true
}
