//go:build built

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// container runs what is in the image, and nothing else: with root's rights in its
// own root folder and as its own user, otherwise as whoever runs the test.
type container struct {
	t      *testing.T
	root   string
	caged  bool
	config []string // environment
}

// unpacked is the image that task image has made, for this machine.
func unpacked(t *testing.T) *container {
	t.Helper()
	image := images(t, os.Getenv("WSNODE_TEST_IMAGE"))[runtime.GOARCH]
	if image == nil {
		t.Fatalf("the image in $WSNODE_TEST_IMAGE is not for %s", runtime.GOARCH)
	}
	c := &container{t: t, root: t.TempDir(), caged: os.Geteuid() == 0}
	made, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.config = made.Config.Env
	headers, contents := files(t, image)
	for name, h := range headers {
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(filepath.Join(c.root, name), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		c.write("/"+name, contents[name])
		if err := os.Chmod(filepath.Join(c.root, name), os.FileMode(h.Mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{c.root, filepath.Join(c.root, "tmp")} {
		mode := os.FileMode(0o755)
		if folder != c.root {
			mode = 0o777 | os.ModeSticky
		}
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// path is a path of the image as its processes spell it.
func (c *container) path(name string) string {
	if c.caged {
		return name
	}
	return filepath.Join(c.root, name)
}

func (c *container) write(name, text string) {
	c.t.Helper()
	file := filepath.Join(c.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.path(name), args...)
	cmd.Env = c.config
	if c.caged {
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	return cmd
}

// output runs a command of the image to its end.
func (c *container) output(name string, args ...string) string {
	c.t.Helper()
	cmd := c.command(c.t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, &errs)
	}
	return string(out)
}

// serve starts the node and returns its address.
func (c *container) serve(args ...string) string {
	c.t.Helper()
	cmd := c.command(context.Background(), "/wsnode", append([]string{"serve", "--log-format", "json", "--listen", "127.0.0.1:0", "--admin-listen", "off"}, args...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ready, ended := make(chan string, 1), make(chan struct{})
	var said strings.Builder // read after ended
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Listen string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
				ready <- line.Listen
			}
		}
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		<-ended
		if err := cmd.Wait(); err != nil {
			c.t.Errorf("wsnode ended with %v\n%s", err, &said)
		}
	})
	select {
	case address := <-ready:
		return address
	case <-ended:
		c.t.Fatalf("wsnode ended before it was ready\n%s", &said)
	case <-time.After(2 * time.Minute):
		c.t.Fatal("wsnode is not ready after two minutes")
	}
	return ""
}

func TestWhatIsInTheImageServesClients(t *testing.T) {
	c := unpacked(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.write("/tmp/operator.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	c.write("/tmp/jwks.json", c.output("/wsctl", "token", "jwks", "--key", c.path("/tmp/operator.pem")))
	c.write("/tmp/token", c.output("/wsctl", "token", "mint", "--key", c.path("/tmp/operator.pem"), "--tenant", "acme", "--app", "notes"))
	address := c.serve("--standalone", "--single-region", "--region", "local", "--public-url", "ws://127.0.0.1:8080",
		"--jwks-file", c.path("/tmp/jwks.json"), "--drain-spread", "0s")
	// It fails if an edit of one client did not reach the other.
	c.output("/wsctl", "bench", "fanout", "--quiet", "--url", "ws://"+address, "--token-file", c.path("/tmp/token"),
		"--docs", "1", "--clients", "2", "--rate", "20", "--warmup", "1s", "--duration", "2s")
}

func TestTheImagesBinariesTellItsVersion(t *testing.T) {
	c := unpacked(t)
	image := images(t, os.Getenv("WSNODE_TEST_IMAGE"))[runtime.GOARCH]
	made, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	version := made.Config.Labels["org.opencontainers.image.version"]
	for _, name := range []string{"/wsnode", "/wsctl"} {
		if said := c.output(name, "version"); version == "" || !strings.Contains(said, "version   "+version+"\n") {
			t.Errorf("%s is not of version %q:\n%s", name, version, said)
		}
	}
}
