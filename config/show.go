package config

// Setting is one value in force, for people to read.
type Setting struct {
	Key   string // path such as server.port
	Value string // as TOML writes it, secrets masked
	From  string // "default", FILE:LINE, or the environment name
	Set   bool   // it does not come from the defaults
}

// Settings lists every setting of the configuration in the order of the key table, and where each comes from.
func (c *Config) Settings() []Setting {
	var all []Setting
	for _, t := range c.targets() {
		s := Setting{Key: t.path, Value: t.key.show(t.section), From: "default"}
		if o, known := c.origins[t.path]; known {
			s.From, s.Set = o.String(), true
		}
		all = append(all, s)
	}
	return all
}
