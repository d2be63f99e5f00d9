package config

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// envPrefix starts our own environment names.
const envPrefix = "HYBRIDBOUNCER_"

// EnvFile names the configuration file; the command line reads it, not Load.
const EnvFile = envPrefix + "CONFIG"

// notSettings have our prefix and another reader.
var notSettings = map[string]string{
	EnvFile:              "the command line",
	envPrefix + "PG_BIN": "internal/pgtest: where PostgreSQL's programs are, for the demo and tests",
}

// secretFileBytesMax bounds a file named by a _FILE variable; a secret is short, and a wrong path may name something endless.
const secretFileBytesMax = 64 << 10

// kubernetes matches what Kubernetes puts into every container for a Service whose name starts with ours, such as
// HYBRIDBOUNCER_SERVICE_HOST or HYBRIDBOUNCER_PORT_6432_TCP_ADDR. They are no settings.
var kubernetes = regexp.MustCompile(`^HYBRIDBOUNCER_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// envReader carries the environment into a Config.
type envReader struct {
	config *Config
	values map[string]string
	faults Problems
}

// readEnviron puts the environment over the configuration: first the names of other poolers' images, then our own.
func (c *Config) readEnviron(environ []string) Problems {
	r := &envReader{config: c, values: map[string]string{}}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			r.values[name] = value
		}
	}
	r.foreign()
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if strings.HasPrefix(name, envPrefix) && notSettings[name] == "" {
			r.own(name, r.values[name])
		}
	}
	return r.faults
}

func (r *envReader) fault(name, text, near string) {
	r.faults = append(r.faults, Problem{File: "environment", Key: name, Text: text, Nearest: near})
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
	if t, known := r.find(base); isFile && known && t.key.Secret {
		if _, both := r.values[base]; both {
			r.fault(name, "is set together with "+base+"; keep one of them", "")
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
	for _, t := range r.config.targets() {
		names = append(names, strings.ToLower(envName(t.path)))
	}
	r.fault(name, "no setting has this name", strings.ToUpper(nearest(name, names)))
}

// find gives the setting of one of our names; a database or user nobody spoke of before is made.
func (r *envReader) find(name string) (target, bool) {
	for _, t := range r.config.targets() {
		if envName(t.path) == name {
			return t, true
		}
	}
	return r.create(name)
}

// fromKubernetes tells whether a name is not meant as a setting.
func (r *envReader) fromKubernetes(name, value string) bool {
	if !kubernetes.MatchString(name) || strings.HasSuffix(name, "_PORT") && !serviceLink(value) && !strings.HasSuffix(name, "_SERVICE_PORT") {
		return false
	}
	for _, t := range r.config.targets() {
		if envName(t.path) == name && serviceLink(value) {
			r.warn("%s is ignored: its value is the one Kubernetes gives for a Service of this name", name)
		}
	}
	return true
}

// serviceLink recognises the value Kubernetes gives to NAME_PORT of a Service.
func serviceLink(value string) bool {
	return strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://")
}

// set assigns a value that came from a variable. An empty one counts as not set where nothing can be empty.
func (r *envReader) set(t target, name, value string) {
	switch t.key.field(t.section).(type) {
	case *string, *[]string:
	default:
		if strings.TrimSpace(value) == "" {
			return
		}
	}
	if err := t.set(fromEnv(value)); err != nil {
		r.fault(name, err.Error(), "")
		return
	}
	r.config.origins[t.path] = origin{name: name}
}

// create makes the database or user a name such as HYBRIDBOUNCER_DATABASES_REPORTS_POOL_SIZE speaks of: in lower case, since the
// environment cannot tell.
func (r *envReader) create(name string) (target, bool) {
	for _, sectionName := range []string{"databases", "users"} {
		rest, ok := strings.CutPrefix(name, envName(sectionName)+"_")
		if !ok {
			continue
		}
		best := ""
		for _, key := range section(sectionName).names() {
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
			r.config.setDatabase(owner, r.config.Databases[owner])
		} else {
			r.config.setUser(owner, r.config.Users[owner])
		}
		return r.config.target(sectionName + "." + quoteName(owner) + "." + strings.ToLower(best[1:]))
	}
	return target{}, false
}

// target finds a setting by its path.
func (c *Config) target(path string) (target, bool) {
	for _, t := range c.targets() {
		if t.path == path {
			return t, true
		}
	}
	return target{}, false
}

// readSecret reads a mounted secret; the line end editors and kubectl leave behind is not part of it.
func (r *envReader) readSecret(path string) (string, error) {
	r.config.secretFiles = append(r.config.secretFiles, Watch(path))
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
		return "", fmt.Errorf("the secret's file is larger than %d bytes; is it the right one?", secretFileBytesMax)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
