package login

import (
	"context"
	"crypto"
	"io"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"
)

// slowKey signs when it is told to.
type slowKey struct {
	crypto.Signer
	began, finish chan struct{}
}

func (k *slowKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	k.began <- struct{}{}
	<-k.finish
	return nil, nil
}

// TestSignaturesAtOnce: no more signatures are computed at once than there are login slots. Those that wait give up when the pooler ends.
func TestSignaturesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(context.Background())
		s := &Logins{Options: Options{Life: life}, computing: semaphore.NewWeighted(2)}
		key := &slowKey{began: make(chan struct{}, 10), finish: make(chan struct{})}
		signer := s.limited(key).(crypto.Signer)
		failed := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := signer.Sign(nil, nil, nil)
				failed <- err
			}()
		}
		synctest.Wait()
		if n := len(key.began); n != 2 {
			t.Errorf("%d sign at once", n)
		}
		key.finish <- struct{}{}
		synctest.Wait()
		if n := len(key.began); n != 3 {
			t.Errorf("%d have begun when one had ended", n)
		}
		end()
		synctest.Wait()
		close(key.finish)
		refused := 0
		for range 5 {
			if <-failed != nil {
				refused++
			}
		}
		if refused != 2 {
			t.Errorf("%d of the two that waited gave up", refused)
		}
	})
}
