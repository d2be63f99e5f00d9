package pagetest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var (
	samples  = flag.Int("samples", 40, "seconds of load that the page must know before it is looked at")
	pictures = flag.String("pictures", "", "folder for the screenshots; empty: none are kept")
	browser  = flag.String("browser", "chromium", "program of the browser")
)

func TestMain(m *testing.M) { flag.Parse(); pgtest.Main(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// tab is a page in the browser, and all that went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu     sync.Mutex
	faults []string
}

// open starts a browser of its own with a window of this size.
func open(t *testing.T, url string, width, height int, dark bool) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(*browser), chromedp.NoSandbox,
		chromedp.WindowSize(width, height), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("hide-scrollbars", true))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // events that are newer than the library
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: url}
	chromedp.ListenTarget(ctx, b.event)
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(network.Enable(), log.Enable(), emulation.SetDeviceMetricsOverride(int64(width), int64(height), 1, width < 500),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate(url))
	b.until("the page has numbers", `document.querySelectorAll('#cards article').length === 2 && document.querySelectorAll('#plots .line').length > 12`)
	return b
}

// event takes what the browser tells: errors, refusals of the policy, requests to other places.
func (b *tab) event(e any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, "exception: "+e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		if strings.Contains(e.Entry.Text, "status of 503") {
			return // the machine is so busy that the event loops did not answer in time: the page says so, and tries again
		}
		b.faults = append(b.faults, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.url) && !strings.HasPrefix(e.Request.URL, "data:") {
			b.faults = append(b.faults, "a request to "+e.Request.URL)
		}
	case *page.EventJavascriptDialogOpening:
		b.faults = append(b.faults, "a dialog: "+e.Message)
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is the value of an expression in the page.
func (b *tab) eval(expression string, to any) {
	b.t.Helper()
	b.do(chromedp.Evaluate(expression, to))
}

// text is the text of an expression.
func (b *tab) text(expression string) (s string) {
	b.t.Helper()
	b.eval(expression, &s)
	return s
}

// until waits for a condition in the page.
func (b *tab) until(what, condition string) {
	b.t.Helper()
	var ok bool
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Poll(condition, &ok, chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		b.t.Fatalf("%s: %v; the browser says %q", what, err, b.faults)
	}
}

// clean fails the test if anything went wrong in the browser.
func (b *tab) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		b.t.Errorf("the browser says: %s", fault)
	}
}

// picture keeps a screenshot of the whole page.
func (b *tab) picture(name string, whole bool) {
	b.t.Helper()
	if *pictures == "" {
		return
	}
	var image []byte
	if whole {
		b.do(chromedp.FullScreenshot(&image, 100))
	} else {
		b.do(chromedp.CaptureScreenshot(&image))
	}
	if err := os.WriteFile(filepath.Join(*pictures, name), image, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// get reads from the endpoint.
func get(t *testing.T, url string, to any) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(to); err != nil {
		t.Fatal(err)
	}
}

func TestPage(t *testing.T) {
	p := start(t)
	url := "http://" + p.endpoint.Address()
	p.load(t)
	pgtest.WaitFor(t, time.Duration(*samples+60)*time.Second, "enough seconds of load", func() bool {
		var past struct{ Series []struct{ Values []*float64 } }
		get(t, url+"/api/v1/history?span=3600&points=1440&kind=process", &past)
		known := 0
		if len(past.Series) > 0 {
			for _, v := range past.Series[0].Values {
				if v != nil {
					known += 3 // a step of so many seconds
				}
			}
		}
		return known >= *samples
	})
	p.endpoint.Mark("reload", "the configuration was read again: 1 settings changed")
	for _, c := range []struct {
		width, height int
		dark          bool
	}{{360, 740, false}, {1440, 900, false}, {1440, 900, true}, {2560, 1440, false}} {
		name := fmt.Sprintf("page-%d.png", c.width)
		if c.dark {
			name = fmt.Sprintf("page-%d-dark.png", c.width)
		}
		t.Run(strings.TrimSuffix(name, ".png"), func(t *testing.T) {
			b := open(t, url, c.width, c.height, c.dark)
			b.do(chromedp.Click(`#spans label:nth-of-type(1)`, chromedp.ByQuery))
			b.until("the page shows five minutes", `past && past.step_seconds === 2`)
			b.picture(name, true)
			looks(b, c.width)
			drillDown(b, strings.Replace(name, "page", "pool", 1), c.width == 1440)
			keyboard(b)
			names(b)
			b.clean()
		})
	}
	t.Run("numbers", func(t *testing.T) { numbers(open(t, url, 1440, 900, false), url) })
}

// looks checks that everything is there, and that nothing is wider than the window.
func looks(b *tab, width int) {
	b.t.Helper()
	var wide int
	b.eval(`document.documentElement.scrollWidth`, &wide)
	if wide > width {
		b.t.Errorf("the page is %d px wide in a window of %d", wide, width)
	}
	var over []string
	b.eval(`[...document.querySelectorAll('main *')].filter(e=>!e.closest('.wide')&&!e.closest('.skip')&&e.getBoundingClientRect().right>innerWidth+1).map(e=>e.tagName+'.'+(e.className.baseVal??e.className)).slice(0,5)`, &over)
	var hidden int
	b.eval(`[...document.querySelectorAll('#apps .advice .n')].filter(e=>e.getBoundingClientRect().right>innerWidth).length`, &hidden)
	if hidden > 0 {
		b.t.Errorf("%d advices are off the screen", hidden)
	}
	if len(over) > 0 {
		b.t.Errorf("beyond the right edge: %v", over)
	}
	for _, want := range []string{"transactional", "session"} {
		if !strings.Contains(b.text(`document.getElementById('verdict').innerText`), want) {
			b.t.Errorf("the verdict does not speak of %s: %s", want, b.text(`document.getElementById('verdict').innerText`))
		}
	}
	var empty []string
	b.eval(`[...document.querySelectorAll('#plots figure')].filter(f=>!f.querySelector('.line')).map(f=>f.id)`, &empty)
	if len(empty) > 0 {
		b.t.Errorf("plots without a line: %v", empty)
	}
	if !strings.Contains(b.text(`document.getElementById('apps').innerText`), hostileName) {
		b.t.Error("a name with markup is not shown as it is")
	}
	// On a phone the needs come first, and may fill the screen.
	var top, height float64
	b.eval(`document.querySelector('#cards').getBoundingClientRect().top+scrollY`, &top)
	b.eval(`innerHeight`, &height)
	if top > height && width > 500 {
		b.t.Errorf("the listeners begin at %.0f px, below a screen of %.0f px", top, height)
	}
}

// click clicks an element that the page may draw anew each second: between finding it and clicking it may have become another one.
func (b *tab) click(selector string) {
	b.t.Helper()
	var err error
	for range 10 {
		if err = chromedp.Run(b.ctx, chromedp.Click(selector, chromedp.ByQuery)); err == nil || !strings.Contains(err.Error(), "Could not find node") {
			break
		}
	}
	if err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
}

// drillDown clicks a pool and comes back.
func drillDown(b *tab, picture string, keep bool) {
	b.t.Helper()
	b.click(`#pools button`)
	b.until("the pool's detail has plots", `document.getElementById('pool').open && document.querySelectorAll('#pool-body .line').length > 2`)
	if title := b.text(`document.getElementById('h-pool').innerText`); !strings.HasPrefix(title, "postgres / postgres on ") {
		b.t.Errorf("the detail is of %q", title)
	}
	if !strings.Contains(b.text(`document.getElementById('pool-body').innerText`), "Who uses it") {
		b.t.Error("the detail has no applications")
	}
	if keep {
		b.picture(picture, false)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("Escape closes the detail", `!document.getElementById('pool').open && document.activeElement.tagName === 'BUTTON'`)
	b.do(chromedp.Evaluate(`document.activeElement.blur()`, nil))
}

// keyboard reads a plot with the arrow keys, and opens its table.
func keyboard(b *tab) {
	b.t.Helper()
	b.do(chromedp.Focus(`#plot-throughput .plot`, chromedp.ByQuery), chromedp.KeyEvent(kb.ArrowLeft))
	first := b.text(`document.getElementById('read').innerText`)
	if !strings.HasPrefix(first, "Transactions per second. ") {
		b.t.Errorf("the screen reader hears %q", first)
	}
	b.do(chromedp.KeyEvent(kb.ArrowLeft))
	if second := b.text(`document.getElementById('read').innerText`); second == first || !strings.Contains(second, "transactional") {
		b.t.Errorf("a second to the left it hears %q", second)
	}
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until("the plot's table opens", `document.querySelectorAll('#plot-throughput tbody tr').length > 5`)
	b.do(chromedp.KeyEvent(kb.Enter))
}

// names checks that all that can be pressed or read has a name for a screen reader.
func names(b *tab) {
	b.t.Helper()
	// The library knows fewer properties than the browser, so that only what is wanted is read.
	type value struct {
		Value any `json:"value"`
	}
	var tree struct {
		Nodes []struct {
			Ignored bool   `json:"ignored"`
			Role    *value `json:"role"`
			Name    *value `json:"name"`
		} `json:"nodes"`
	}
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		return cdp.Execute(ctx, "Accessibility.getFullAXTree", nil, &tree)
	}))
	seen := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := fmt.Sprint(n.Role.Value)
		seen[role]++
		switch role {
		case "button", "link", "image", "img", "radio", "meter", "region", "table", "dialog", "heading":
			if n.Name == nil || fmt.Sprint(n.Name.Value) == "" {
				b.t.Errorf("a %s has no name", role)
			}
		}
	}
	for _, role := range []string{"main", "meter", "heading", "radio", "table", "button"} {
		if seen[role] == 0 {
			b.t.Errorf("the page has no %s for a screen reader: %v", role, seen)
		}
	}
}

// numbers compares the page with the API: what a card shows is what /health/db and the stream say.
func numbers(b *tab, url string) {
	b.t.Helper()
	for range 5 {
		// The page's own copy of the last message, and what it has made of it, read in one go.
		var have struct {
			Level string
			Lent  []string
			Want  []string
		}
		b.eval(`({level: document.getElementById('verdict').className,
			lent: [...document.querySelectorAll('#cards article')].map(c => c.querySelector('dd').innerText),
			want: now.listeners.map(l => l.checked_out + ' of ' + l.size)})`, &have)
		if fmt.Sprint(have.Lent) != fmt.Sprint(have.Want) {
			b.t.Errorf("the cards show %v, the message says %v", have.Lent, have.Want)
		}
	}
	var health map[string]struct{ Size int }
	get(b.t, url+"/health/db", &health)
	var size int
	b.eval(`now.listeners[0].size`, &size)
	if health["transactional"].Size != size {
		b.t.Errorf("size is %d in /health/db and %d on the page", health["transactional"].Size, size)
	}
	var served, shown uint64
	var overview struct {
		Pools []struct{ Transactions uint64 }
	}
	b.eval(`now.pools.reduce((a, p) => a + p.transactions, 0)`, &shown)
	get(b.t, url+"/api/v1/overview", &overview)
	for _, p := range overview.Pools {
		served += p.Transactions
	}
	if shown == 0 || shown > served {
		b.t.Errorf("the page shows %d transactions, a moment later the API %d", shown, served)
	}
	b.clean()
}
