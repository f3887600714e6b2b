package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

func write(t *testing.T, name string, text []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNATSIsReachedWithCertificatesAndPasswords(t *testing.T) {
	own := natstest.NewCertificate(t)
	cert, key := own.CertFile, own.KeyFile
	i := natstest.Server(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{own.Pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: own.Roots}
		o.TLSTimeout = 10
		o.Users = []*server.User{{Username: "operator", Password: "opensesame"}}
	})
	node, err := control.Serve(natstest.Connect(t, i, nats.RootCAs(cert), nats.ClientCert(cert, key), nats.UserInfo("operator", "opensesame")),
		crowd{name: "n1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)

	context := func(values map[string]string) string {
		values["url"] = i.URL
		text, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		return write(t, "context.json", text)
	}
	withPassword := strings.Replace(i.URL, "nats://", "nats://operator:opensesame@", 1)
	missing := filepath.Join(t.TempDir(), "missing")
	inFile := "file:" + write(t, "url", []byte(withPassword+"\n"))
	for _, c := range []struct {
		what string
		args []string
		code int
	}{
		{"flags", []string{"--nats-url", withPassword, "--nats-ca", cert, "--nats-cert", cert, "--nats-key", key}, 0},
		{"a URL in a file", []string{"--nats-url", inFile, "--nats-ca", cert, "--nats-cert", cert, "--nats-key", key}, 0},
		{"no such file of a URL", []string{"--nats-url", "file:" + missing}, exit.Usage},
		{"a context", []string{"--context", context(map[string]string{"user": "operator", "password": "opensesame", "ca": cert, "cert": cert, "key": key})}, 0},
		{"a wrong password", []string{"--context", context(map[string]string{"user": "operator", "password": "guess", "ca": cert, "cert": cert, "key": key})}, exit.Unavailable},
		{"no certificate", []string{"--nats-url", withPassword, "--nats-ca", cert}, exit.Unavailable},
		{"an unknown authority", []string{"--nats-url", withPassword, "--nats-cert", cert, "--nats-key", key}, exit.Unavailable},
		{"half a certificate", []string{"--nats-url", withPassword, "--nats-cert", cert}, exit.Usage},
		{"no such file", []string{"--nats-url", withPassword, "--nats-ca", missing}, exit.Usage},
		{"no such credentials", []string{"--nats-url", withPassword, "--nats-creds", missing}, exit.Usage},
		{"no nkey", []string{"--context", context(map[string]string{"nkey": missing})}, exit.Usage},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"nodes", "get", "n1"}, c.args...), strings.NewReader(""), &out, &errs)
		if code != c.code || (code == 0) != strings.Contains(out.String(), "n1") {
			t.Errorf("%s: exit code %d, expected %d\n%s%s", c.what, code, c.code, out.String(), errs.String())
		}
		if strings.Contains(out.String()+errs.String(), "opensesame") {
			t.Errorf("%s: the password shows: %s%s", c.what, out.String(), errs.String())
		}
	}
}
