package config

// PromotionTarget is the listener whose pools take the servers that are promoted from a listener's; empty when it promotes none.
func (c *Config) PromotionTarget(l *Listener) string {
	if l.PoolMode != "transaction" || l.Promotion != "on" {
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
	if l.PromoteTo != "" && l.PoolMode == "transaction" && l.Promotion == "on" && v.config.PromotionTarget(l) == "" {
		v.fault(path+".promote_to", "there is no listener %q with pool_mode session", l.PromoteTo)
	}
}
