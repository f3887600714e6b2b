package natsconn_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestServersThatAreNoneAreRefusedWithoutTheirPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	for _, urls := range []string{"", "nats://node:s3cret@", "http://node:s3cret@nats:4222", "nats://node:s3cret@nats:port", "nats://a:4222,nats://node:s3cret@%zz"} {
		write(t, file, urls)
		for _, servers := range []string{urls, "file:" + file} {
			if _, _, err := natsconn.Servers(servers); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: %v", servers, err)
			}
		}
	}
	write(t, file, "nats://a:b@one:4222,nats://a:c@two:4222")
	if _, _, err := natsconn.Servers("file:" + file); err == nil || !strings.Contains(err.Error(), "the same user") {
		t.Errorf("two users: %v", err)
	}
	if _, _, err := natsconn.Servers("file:" + file + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
	for _, urls := range []string{"nats:4222", "nats://a:4222,b", "tls://node:s3cret@[::1]:4222, ws://c:80"} {
		if _, _, err := natsconn.Servers(urls); err != nil {
			t.Errorf("%s is refused: %v", urls, err)
		}
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPasswordInAFileIsReadAgainAtEachConnect(t *testing.T) {
	for name, change := range map[string]func(o *server.Options, secret string) (user string){
		"password": func(o *server.Options, secret string) string {
			o.Username, o.Password = "ann", secret
			return "ann:" + secret
		},
		"token": func(o *server.Options, secret string) string { o.Authorization = secret; return secret },
	} {
		t.Run(name, func(t *testing.T) {
			var options *server.Options
			user := ""
			s := natstest.Server(t, func(o *server.Options) { user = change(o, "old"); options = o })
			file := filepath.Join(t.TempDir(), "url")
			give := func(user string) { write(t, file, strings.Replace(s.URL, "://", "://"+user+"@", 1)) }
			give(user)
			if urls, _, err := natsconn.Servers("file:" + file); err != nil || urls != s.URL {
				t.Errorf("the URLs are %s, %v", urls, err)
			}
			c, failures := connection(t, "file:"+file)
			before := c.NATS()
			next := options.Clone()
			user = change(next, "new")
			reload(t, s.NATS(0), next)
			refused(t, c, failures, nats.ErrAuthorization)
			give(user)
			again(t, c, before)
		})
	}
}
