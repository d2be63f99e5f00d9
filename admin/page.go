package admin

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // page.html
	"encoding/base64"
	"net/http"
	"strings"
)

// The page is one file that needs nothing from elsewhere. Its script reads the API and the stream; page.html holds no number.

//go:embed page.html
var pageHTML []byte

// contentPolicy is the Content-Security-Policy of every answer: the page's own script and style run, known by their hashes, and
// nothing else does, even if a name that a client chose found its way into the page as markup.
var contentPolicy = strings.Join([]string{
	"default-src 'none'", "script-src " + hashOf("script"), "style-src " + hashOf("style"), "connect-src 'self'", "img-src data:",
	"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
}, "; ")

// hashOf is the source expression that lets the one <tag> of the page pass.
func hashOf(tag string) string {
	_, rest, _ := bytes.Cut(pageHTML, []byte("<"+tag+">"))
	text, _, _ := bytes.Cut(rest, []byte("</"+tag+">"))
	hash := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// servePage answers /.
func (e *Endpoint) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(pageHTML) // the asker may have left
}
