package config_test

import (
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
)

func TestSettings(t *testing.T) {
	c := mustLoad(t, minimal+"[server]\nuser = 'u'\npassword = 'hunter2'\n", "DB_PORT=77", "LISTEN_PORT=78")
	want := map[string]config.Setting{
		"server.host":                   {Value: `"127.0.0.1"`, From: "default"},
		"server.user":                   {Value: `"u"`, From: "c.toml:4", Set: true},
		"server.password":               {Value: `"********"`, From: "c.toml:5", Set: true},
		"server.port":                   {Value: "77", From: "DB_PORT", Set: true},
		"listener.transactional.listen": {Value: `["127.0.0.1:78"]`, From: "LISTEN_PORT", Set: true},
		"auth.password":                 {Value: `""`, From: "default"},
	}
	for _, s := range c.Settings() {
		s.From = s.From[strings.LastIndexByte(s.From, '/')+1:]
		w, asked := want[s.Key]
		w.Key = s.Key
		if asked && s != w {
			t.Errorf("have %+v, want %+v", s, w)
		}
		delete(want, s.Key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
