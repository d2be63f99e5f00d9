package eventloop

import "time"

// Ticker calls a function at coarse intervals while it is started. A stopped one costs nothing and lets the loop sleep for ever.
type Ticker struct {
	loop     *Loop
	interval time.Duration
	due      time.Duration
	f        func(now time.Duration)
	started  bool
}

// Every makes a ticker, stopped.
func (l *Loop) Every(interval time.Duration, f func(now time.Duration)) *Ticker {
	return &Ticker{loop: l, interval: interval, f: f}
}

// Start lets it tick, first after one interval. The loop's thread only.
func (t *Ticker) Start() {
	t.loop.owned("Ticker.Start")
	if t.started {
		return
	}
	t.started = true
	t.due = t.loop.now + t.interval
	t.loop.tickers = append(t.loop.tickers, t)
}

// Stop ends it. The loop's thread only.
func (t *Ticker) Stop() {
	t.loop.owned("Ticker.Stop")
	if !t.started {
		return
	}
	t.started = false
	for i, other := range t.loop.tickers {
		if other == t {
			t.loop.tickers = append(t.loop.tickers[:i], t.loop.tickers[i+1:]...)
			return
		}
	}
}

func (l *Loop) runTickers() {
	for i := 0; i < len(l.tickers); i++ {
		t := l.tickers[i]
		if l.now < t.due {
			continue
		}
		t.due = l.now + t.interval
		l.contain(func() { t.f(l.now) })
		l.settle()
	}
}
