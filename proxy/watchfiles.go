package proxy

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
)

// Certificates are renewed, and users are added and removed, without a signal to the pooler. The pooler therefore looks at the files. If a
// new file can be used, it is put in force; if not, the old one stays. (The files for servers are read at each login to PostgreSQL.)

// filesLook is how often the files are looked at. Certificates are replaced days before they end; a second is for the operator who waits.
const filesLook = time.Second

// watchFiles is a goroutine of the cold world.
func (p *Proxy) watchFiles() {
	look := time.NewTicker(filesLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			for _, l := range p.listeners {
				l.logins.RenewTLS()
			}
			p.renewUsers()
		case <-p.life.Done():
			return
		}
	}
}

// userFile is the user file as it was read. Guarded by Proxy.reloading.
type userFile struct {
	read  config.Watched
	seen  config.Watched // at the last look, if it was another than read
	fault string         // why that cannot be used
}

// renewUsers reads the user file again if it has changed, as PgBouncer does. One that is just being written is left for the next look.
func (p *Proxy) renewUsers() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	f := &p.userFile
	if f.read.Path == "" || !f.read.Changed() {
		return
	}
	if now := config.Watch(f.read.Path); !now.Same(f.seen) {
		f.seen = now
		return
	}
	users, err := auth.LoadUserFile(f.read.Path)
	if err == nil {
		err = p.verifier.ReplaceUsers(users)
	}
	switch {
	case err == nil:
		*f = userFile{read: f.seen}
		p.log.Info("the user file has changed and was read again", "file", f.read.Path)
	case err.Error() != f.fault:
		f.fault = err.Error()
		p.log.Warn("the user file has changed and cannot be used; the old one stays in force", "error", err)
	}
}
