package registry

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestDocumentsOfASocketFollowTheirHomesAndTheOthersNoticeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	defer w.stop()
	cmd := exec.CommandContext(t.Context(), "node", "carried.mjs")
	cmd.Dir = "../providers/node"
	cmd.Env = append(os.Environ(), "NODES="+w.us.front.WS()+" "+w.eu.front.WS(), "TOKEN="+w.token)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	hear := func(what string) string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("%s: %v", what, cmd.Wait())
		}
		return lines.Text()
	}
	say := func(what string) string {
		t.Helper()
		if _, err := fmt.Fprintln(in, what); err != nil {
			t.Fatal(err)
		}
		return hear(what)
	}
	hear("all are in")
	say("go on")
	w.eu.nodes[0].Kill()
	say("go on")
	w.eu.nodes[1].Stop()
	say("go on")
	t.Log(say("end"))
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A region's URL is wss in earnest: who is carried there comes by TLS, if the node trusts
// the certificate, and not at all if it does not.
func TestDocumentsAreCarriedByTLS(t *testing.T) {
	t.Parallel()
	keys, clients := issuer.New(t), yjs.Start(t)
	own := natstest.NewCertificate(t)
	registry := license + "=" + cluster.StartNATSServers(t, 1)[0].URL
	home := cluster.StartNATSServers(t, 1)[0].URL
	serve := func(under []string, region, nats, listen, url string, flags ...string) *cluster.Node {
		command := append(under, cluster.Binary(t, "./cmd/wsnode"), "serve", "--region", region, "--listen", listen, "--public-url", url,
			"--nats-url", nats, "--registry", registry, "--jwks-url", keys.JWKS, "--drain-spread", "0s", "--admin-listen", "off", "--elsewhere", "carry")
		return &cluster.Node{Process: cluster.Run(t, "wsnode", command[0], append(command[1:], flags...)...), Addr: listen}
	}
	secure := cluster.FreeAddress(t)
	serve(nil, eu, home, secure, "wss://"+secure, "--node", "eu-tls", "--tls-cert", own.CertFile, "--tls-key", own.KeyFile)
	plain := serve(nil, eu, home, cluster.FreeAddress(t), "wss://"+secure, "--node", "eu-plain")
	cluster.Started(t, plain.Process, plain.Addr)
	other := cluster.StartNATSServers(t, 1)[0].URL
	var us []*cluster.Node
	for i, under := range [][]string{{"env", "SSL_CERT_FILE=" + own.CertFile}, nil} {
		at := cluster.FreeAddress(t)
		n := serve(under, "us-east-1", other, at, "ws://"+at, "--node", fmt.Sprint("us-", i))
		us = append(us, cluster.Started(t, n.Process, n.Addr))
	}
	at := func(n *cluster.Node) yjs.Options {
		return yjs.Options{URL: n.WS(), Document: "far", Token: keys.Token(nil)}
	}
	author := clients.Join(at(plain))
	author.Insert(0, "from home")
	carried := clients.Join(at(us[0]))
	carried.WaitText("from home")
	carried.Insert(-1, ", and from afar")
	author.WaitText("from home, and from afar")
	stranger := clients.Open(at(us[1]))
	stranger.WaitClosed(1013)
	if state := stranger.State(); state.Text != "" {
		t.Errorf("who does not trust the certificate was sent %q", state.Text)
	}
}
