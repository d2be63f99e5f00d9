package proxy

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/dial"
	"github.com/hybridbouncer/hybridbouncer/proxy/login"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// newLogins prepares the logins of all listeners.
func (p *Proxy) newLogins(cfg *config.Config) (*login.Logins, error) {
	p.userFile = userFile{read: config.Watch(cfg.Auth.UserFile)}
	return login.New(login.Options{
		Log: p.log, Life: p.life,
		Config:   func() *config.Config { return p.settings.Load().cfg },
		Draining: p.draining.Load,
		Refused:  p.refused,
		OpenLoops: func() []*eventloop.Loop {
			open := p.workers[:p.openLoops.Load()]
			loops := make([]*eventloop.Loop, 0, len(open))
			for _, w := range open {
				loops = append(loops, w.loop)
			}
			return loops
		},
		OpenServer: p.openForAuthQuery,
	})
}

// openForAuthQuery logs in to PostgreSQL as auth_user. Nothing of a client's is in this.
func (p *Proxy) openForAuthQuery(ctx context.Context, q *config.AuthQuery) (*pgconn.PgConn, error) {
	return dial.Connect(ctx, dial.Target{
		Pool: pool.Key{Database: q.DBName, User: q.User}, Server: p.settings.Load().cfg.Server,
		Resolved:    config.Resolved{Host: q.Host, Port: q.Port, DBName: q.DBName, ServerUser: q.User, ServerPassword: q.Password},
		Credentials: p.verifier.ServerLogin("", q.User, q.User),
	})
}

// login takes a client from accept to its event loop, in a goroutine of its own that ends with it.
func (l *listener) login(nc net.Conn) {
	p := l.proxy
	defer func() {
		if v := recover(); v != nil {
			p.contained(v, nil)
			sockets.CloseQuietly(nc)
		}
	}()
	a := l.logins.Begin(nc)
	defer a.End()
	startup, err := a.ReadStartup()
	switch {
	case err != nil:
	case startup.Kind == protocol.StartupCancel:
		p.cancel(startup.Cancel)
		a.Close()
	default:
		err = l.enter(a)
	}
	if err != nil {
		a.Refuse(err)
	}
}

// enter lets a client authenticate itself, welcomes it and hands it to a loop.
func (l *listener) enter(a *login.Attempt) error {
	p := l.proxy
	admitted, err := a.Authenticate()
	if err != nil {
		return err
	}
	sp, ok := p.poolFor(l, admitted.Database, admitted.User)
	if !ok {
		return protocol.ErrNoSuchDatabase(admitted.Database)
	}
	defer p.release(sp)
	if sp.catalogue.Load() == nil {
		p.provideCatalogue(a.Context(), sp)
	}
	if err := l.addClient(sp); err != nil {
		return err
	}
	entered := false
	defer func() {
		if !entered {
			l.removeClient(sp)
		}
	}()
	client, err := l.welcome(a, &admitted, sp)
	if err != nil {
		return err
	}
	if err := a.Flush(); err != nil {
		p.cancels.remove(client)
		return err
	}
	entered = true
	l.handOver(a, client)
	return nil
}

// addClient counts a client of a pool, unless a limit on clients is reached. The client holds the pool until removeClient.
func (l *listener) addClient(sp *serverPool) error {
	if err := l.logins.AddClient(sp.key.Database, sp.key.User, &sp.limits.Load().resolved); err != nil {
		return err
	}
	l.proxy.hold(sp)
	return nil
}

// removeClient takes back addClient when the client leaves.
func (l *listener) removeClient(sp *serverPool) {
	l.logins.RemoveClient(sp.key.Database, sp.key.User)
	l.proxy.release(sp)
}

// welcome makes the client and gathers the messages that welcome it. The cancel key is known from here on. A client that wants replication
// is welcomed later, when the server is there that is opened for it.
func (l *listener) welcome(a *login.Attempt, admitted *login.Admitted, sp *serverPool) (*Client, error) {
	if r := replicationOf(admitted.Startup, admitted.Replication); r != nil {
		return l.newClient(admitted, sp, baseline{}, r)
	}
	server, err := l.proxy.parametersFor(a.Context(), sp)
	if err != nil {
		return nil, err
	}
	base, err := baselineOf(admitted.Startup, server.settings)
	if err != nil {
		return nil, err
	}
	client, err := l.newClient(admitted, sp, base, nil)
	if err != nil {
		return nil, err
	}
	client.inRecovery = server.inRecovery
	a.Send(server.greeting(base.reported()))
	a.Send(append(protocol.AppendBackendKeyData(nil, client.info.key), readyIdle...))
	return client, nil
}

// newClient makes a client and gives it its cancel key, unless it wants replication.
func (l *listener) newClient(admitted *login.Admitted, sp *serverPool, base baseline, r *replication) (*Client, error) {
	client := newClient(sp, base, r)
	client.info.address, client.info.tls = admitted.Address, admitted.TLS
	client.info.application, client.info.since = admitted.Startup.Get("application_name"), time.Now()
	if r != nil {
		return client, nil // its key is made when its server is there
	}
	if err := l.proxy.cancels.add(client, l.proxy.nextID.Add(1), secretBytes(admitted.Startup)); err != nil {
		return nil, err
	}
	return client, nil
}

// secretBytes returns the length of the secret of a client's cancel key.
func secretBytes(startup *protocol.Startup) int {
	if startup.Minor >= 2 {
		return 32 // protocol 3.2 allows up to 256 (manual 54.2.1)
	}
	return 4
}

// handOver passes the socket to a loop. Ownership passes here: afterwards the goroutine holds nothing.
func (l *listener) handOver(a *login.Attempt, client *Client) {
	p := l.proxy
	src, err := a.Release(l.inherited.Load())
	if err != nil {
		p.log.Warn("a client that has logged in could not be watched", "listener", l.name, "error", err)
		a.Close()
		p.cancels.remove(client)
		l.removeClient(client.pool)
		return
	}
	if client.info.replication == nil {
		p.loggedIn(client)
	}
	w := p.workerForClient()
	w.loop.Post(func() { w.adoptClient(client, src) })
}

// loggedIn counts and logs a login that has succeeded.
func (p *Proxy) loggedIn(c *Client) {
	p.counts.logins.Add(1)
	if p.settings.Load().cfg.Log.Connections {
		p.log.Info("client logged in", c.logAttrs()...)
	}
}
