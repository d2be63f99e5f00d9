package proxy

import (
	"runtime/debug"
	"time"
)

// A login leaves garbage behind, some kilobytes each, and between two collections the heap may grow to twice what is used. When a wave of
// logins is over, that is given back: idle clients are what a pooler mostly has, and they are to cost what they hold.
const (
	memoryLookEvery = time.Second
	memoryWave      = 256 // logins; fewer leave less than is worth a collection
)

// watchMemory is a goroutine of the cold world.
func (p *Proxy) watchMemory() {
	look := time.NewTicker(memoryLookEvery)
	defer look.Stop()
	var before, freed uint64
	for {
		select {
		case <-look.C:
		case <-p.life.Done():
			return
		}
		logins := p.counts.logins.Load()
		if logins == before && logins-freed >= memoryWave {
			debug.FreeOSMemory()
			freed = logins
		}
		before = logins
	}
}
