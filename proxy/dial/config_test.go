package dial

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/auth"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
)

// TestDialConfigHidesPasswords: whatever is wrong with the settings of a dial, the fault does not show its password, and a password with
// the marks of the format in it arrives as it is.
func TestDialConfigHidesPasswords(t *testing.T) {
	for _, password := range []string{"hunter2", `hunter2' host='elsewhere`, `hunter2\`, `hunter2\' x=`, "hunter2 sslmode=disable"} {
		target := Target{
			Pool: pool.Key{Database: "d", User: "u"}, Server: config.Server{SSLMode: "disable"},
			Resolved: config.Resolved{Host: "127.0.0.1", Port: 1, DBName: "d", ServerUser: "u", ServerPassword: password},
		}
		cfg, err := configFor(target)
		if err != nil || cfg.Password != password || cfg.Host != "127.0.0.1" {
			t.Errorf("%q: %v", password, err)
		}
		target.Resolved.ServerPassword, target.Credentials = "", auth.Credentials{Password: password}
		if cfg, err := configFor(target); err != nil || cfg.Password != password {
			t.Errorf("%q: %v", password, err)
		}
		target.Resolved.ServerPassword = password
		for _, broken := range []config.Server{
			{SSLMode: "nonsense"}, {SSLMode: "verify-full", SSLRootCert: "/does/not/exist"}, {SSLMode: "require", SSLCert: "/does/not/exist", SSLKey: "/x"},
		} {
			target.Server = broken
			if _, err := configFor(target); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%+v: %v", broken, err)
			}
			if text := fmt.Sprintf("%v %+v", target.Resolved, target.Server); strings.Contains(text, "hunter2") {
				t.Error(text)
			}
		}
	}
}
