package config

// PromotionTarget is the listener whose pools take the servers that are promoted from a listener's; empty when it promotes none.
func (c *Config) PromotionTarget(l *Listener) string {
	if l.Promotion != "on" {
		return ""
	}
	return c.SessionListener(l)
}

// SessionListener is the listener that a transaction listener's clients belong on whose work is not for a transaction pool; empty when
// there is none.
func (c *Config) SessionListener(l *Listener) string {
	if l.PoolMode != "transaction" {
		return ""
	}
	for i := range c.Listeners {
		if to := &c.Listeners[i]; to.PoolMode == "session" && (l.PromoteTo == "" || l.PromoteTo == to.Name) {
			return to.Name
		}
	}
	return ""
}

// promotion checks that servers are promoted to a session listener that there is.
func (v *validator) promotion(path string, l *Listener) {
	if l.PromoteTo != "" && l.PoolMode == "transaction" && l.Promotion != "off" && v.config.SessionListener(l) == "" {
		v.fault(path+".promote_to", "there is no listener %q with pool_mode session", l.PromoteTo)
	}
}
