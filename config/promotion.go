package config

// PromotionTarget returns the name of the session listener whose pools take the promoted servers of a listener. It is empty when the
// listener promotes none.
func (c *Config) PromotionTarget(l *Listener) string {
	if l.Promotion != "on" {
		return ""
	}
	return c.SessionListener(l)
}

// SessionListener returns the name of the session listener that suits those clients of a transaction listener whose work needs a
// session. It is empty when there is none.
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

// promotion checks that promote_to names a session listener.
func (v *validator) promotion(path string, l *Listener) {
	if l.PromoteTo != "" && l.PoolMode == "transaction" && l.Promotion != "off" && v.config.SessionListener(l) == "" {
		v.fault(path+".promote_to", "there is no listener %q with pool_mode session", l.PromoteTo)
	}
}
