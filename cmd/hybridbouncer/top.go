package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/hybridbouncer/hybridbouncer/admin/top"
)

// widthWithoutTerminal is how wide the lines are that go to a file or a pipe.
const widthWithoutTerminal = 160

// runTop shows a running pooler in the terminal until a signal ends it; with -once, or without a terminal, it prints once.
func runTop(p *process, args []string) error {
	named := p.configFlag()
	url := p.flags.String("url", "", "`URL` of the admin endpoint (default: admin.listen of the configuration)")
	every := p.flags.Duration("every", time.Second, "how often to look")
	once := p.flags.Bool("once", false, "print once and end")
	if err := p.parse(args); err != nil {
		return err
	}
	client, err := p.topClient(p.configPath(*named), *url)
	if err != nil {
		return err
	}
	defer client.HTTP.CloseIdleConnections()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	screen, ok := p.stdout.(*os.File)
	if *once || !ok || !term.IsTerminal(int(screen.Fd())) {
		return p.topOnce(ctx, client)
	}
	return p.topScreen(ctx, client, screen, max(*every, 100*time.Millisecond))
}

// topClient finds the endpoint: at -url, or where the configuration says.
func (p *process) topClient(path, url string) (*top.Client, error) {
	c, err := p.load(path)
	if err != nil && url == "" {
		return nil, err
	}
	client := &top.Client{URL: strings.TrimSuffix(url, "/"), HTTP: &http.Client{Timeout: top.Patience, Transport: &http.Transport{}}}
	if err == nil {
		client.Password = c.Admin.Password
	}
	if url != "" {
		return client, nil
	}
	if c.Admin.Listen == "" {
		return nil, errors.New("the configuration has no admin endpoint: admin.listen is empty")
	}
	host, port, err := net.SplitHostPort(c.Admin.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen %s: %w", c.Admin.Listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // the pooler listens on all addresses of this machine
	}
	client.URL = "http://" + net.JoinHostPort(host, port)
	return client, nil
}

// topOnce prints what there is now, without a terminal's codes.
func (p *process) topOnce(ctx context.Context, client *top.Client) error {
	view, err := client.Look(ctx)
	if err != nil {
		return err
	}
	for _, line := range top.Lines(view, widthWithoutTerminal, 0, false) {
		fmt.Fprintln(p.stdout, line)
	}
	return nil
}

// Codes of the terminal: a screen of our own without a cursor, and back.
const (
	screenEnter = "\x1b[?1049h\x1b[?25l"
	screenLeave = "\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
	lineEnd     = "\x1b[K\r\n"
	screenClear = "\x1b[J"
)

// topScreen draws the screen anew until ctx ends. An endpoint that does not answer is shown, and asked again: poolers restart.
func (p *process) topScreen(ctx context.Context, client *top.Client, screen *os.File, every time.Duration) error {
	fmt.Fprint(screen, screenEnter)
	defer fmt.Fprint(screen, screenLeave)
	colored := !slices.ContainsFunc(p.environ, func(v string) bool { return strings.HasPrefix(v, "NO_COLOR=") && v != "NO_COLOR=" })
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		width, height, err := term.GetSize(int(screen.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		var lines []string
		if view, err := client.Look(ctx); err != nil {
			lines = []string{fmt.Sprintf("hybridbouncer top: %v", err)}
		} else {
			lines = top.Lines(view, width, height-1, colored)
		}
		fmt.Fprint(screen, screenHome+strings.Join(lines, lineEnd)+lineEnd+screenClear)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
