package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/wire"

	"github.com/jackc/pgx/v5/pgconn"
)

// stormClients is the command by which this program starts itself once more for the clients of a storm: in one process with what
// measures they would share the scheduler of Go, and a priority. It is not for people, so it is in no list.
const stormClients = "storm-clients"

// stormRest is between the last login and the moment when all leave, so that each has its own effect on the queries.
const stormRest = 500 * time.Millisecond

// stormReport is the message of the storm's process: first when it begins, then with all results.
type stormReport struct {
	Began, Ended    time.Time // of the logins: until the last one is answered
	Leaving         time.Time // when those that were served leave, all at once
	Served          int
	Refused, Failed map[string]int // by what the clients were told: in an ErrorResponse, or not at all
}

// stormAt lets another process log in at a target, all logins at once. If within is not 0 it is ended after that time, answered or
// not.
func stormAt(ctx context.Context, to *wire.Target, logins, nice int, within time.Duration) (*stormReport, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arguments := []string{program, stormClients, strconv.Itoa(logins)}
	if nice != 0 { // by a program: Go cannot change the priority of threads that it has already
		arguments = append([]string{"nice", "-n", strconv.Itoa(nice)}, arguments...)
	}
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	command.Env, command.Stderr = to.Environment(), os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the storm: %w", err)
	}
	report := &stormReport{}
	said := json.NewDecoder(out)
	if err := said.Decode(report); err != nil {
		return nil, errors.Join(fmt.Errorf("the storm did not begin: %w", err), command.Wait())
	}
	if within != 0 {
		report.Ended = report.Began.Add(within)
		err = pause(ctx, time.Until(report.Ended))
		_ = command.Process.Kill()
		_ = command.Wait() // says that it was killed
		return report, err
	}
	if err := said.Decode(report); err != nil {
		return nil, errors.Join(fmt.Errorf("the storm said nothing at its end: %w", err), command.Wait())
	}
	return report, command.Wait()
}

// runStormClients logs in where libpq's environment says, as often as the argument says, and reports to out in JSON.
func runStormClients(ctx context.Context, arguments []string, out io.Writer) error {
	const patience = 2 * time.Minute
	if len(arguments) != 1 {
		return errors.New("it is started by `bench storm` alone")
	}
	logins, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	to, err := pgconn.ParseConfig("")
	if err != nil {
		return err
	}
	logIn, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	report := &stormReport{Refused: map[string]int{}, Failed: map[string]int{}}
	var mu sync.Mutex // guards report
	begin, over := make(chan struct{}), make(chan struct{})
	var answered, left sync.WaitGroup
	answered.Add(logins)
	for range logins {
		left.Go(func() {
			<-begin
			one, err := pgconn.ConnectConfig(logIn, to)
			mu.Lock()
			report.add(err)
			mu.Unlock()
			answered.Done()
			if err == nil { // applications that come back stay
				<-over
				_ = one.Close(ctx)
			}
		})
	}
	said := json.NewEncoder(out)
	report.Began = time.Now()
	if err := said.Encode(report); err != nil {
		return err
	}
	close(begin)
	answered.Wait()
	report.Ended = time.Now()
	if err := pause(ctx, stormRest); err != nil {
		return err
	}
	report.Leaving = time.Now()
	close(over)
	left.Wait()
	return said.Encode(report)
}

// add counts one login.
func (r *stormReport) add(err error) {
	var refusal *pgconn.PgError
	var socket *net.OpError
	switch {
	case err == nil:
		r.Served++
	case errors.As(err, &refusal):
		r.Refused[refusal.Code+" "+refusal.Message]++
	case errors.As(err, &socket):
		r.Failed[socket.Op+": "+socket.Err.Error()]++ // without the ports, which are others for each
	default:
		r.Failed[err.Error()]++
	}
}

// sum is how many logins these are.
func sum(told map[string]int) int {
	n := 0
	for _, one := range told {
		n += one
	}
	return n
}
