package config

// Setting is one value of a configuration, for people to read.
type Setting struct {
	Key   string // path such as server.port
	Value string // as TOML writes it, secrets masked
	From  string // "default", FILE:LINE, or the environment name
	Set   bool   // a file or the environment set it
}

// Settings lists every setting of the configuration in the order of the key table, with the place of its value.
func (c *Config) Settings() []Setting {
	var all []Setting
	for _, t := range c.Targets() {
		s := Setting{Key: t.Path, Value: t.Key.Show(t.Section), From: "default"}
		if o, known := c.origins[t.Path]; known {
			s.From, s.Set = o.String(), true
		}
		all = append(all, s)
	}
	return all
}
