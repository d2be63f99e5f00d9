// Package pagetest owns the tests that look at a pooler with real tools: a browser (`make page-test`) and Prometheus (`make alerts`). It is
// a module of its own, so that the pooler's module does not depend on a browser's protocol. It must not know how the page is written: it
// looks and clicks as an operator does, and measures what the browser has made of it.
package pagetest
