package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// readme holds the README's fenced code, in its order.
type readme struct {
	text       string
	shell      []string
	javascript []string
}

func readReadme(t *testing.T) (r readme) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	r.text = string(text)
	for _, block := range regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(r.text, -1) {
		switch language, code := block[1], block[2]; language {
		case "sh":
			r.shell = append(r.shell, strings.TrimSpace(code))
		case "js":
			r.javascript = append(r.javascript, code)
		case "text": // a picture
		case "go": // test/layout compares it with what runs
		default:
			t.Errorf("no test runs the README's %s code:\n%s", language, code)
		}
	}
	if len(r.shell) != 2 || len(r.javascript) != 4 {
		t.Fatalf("the README has %d commands and %d snippets, expected 2 and 4", len(r.shell), len(r.javascript))
	}
	return r
}

func TestReadmeCommandsWork(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	// The command itself, on ports that nobody else has.
	free := cluster.FreePorts(t, 14) // those of the nodes, and two for NATS
	words := append(strings.Fields(r.shell[0]), "--port", strconv.Itoa(free), "--nats-port", strconv.Itoa(free+12))
	dev := cluster.Run(t, "readme-dev", words[0], words[1:]...)
	dev.WaitLine(func(line string) bool { return line == "ready" })
	for _, offset := range []int{0, 1, 10, 11} {
		if a := cluster.Get(t, fmt.Sprintf("http://127.0.0.1:%d/health", free+offset), ""); a.Status != 200 {
			t.Errorf("port +%d: %d %s", offset, a.Status, a.Body)
		}
	}
	for _, address := range regexp.MustCompile("<(http[^>]*)>").FindAllStringSubmatch(r.text, -1) {
		here := strings.Replace(address[1], "localhost:8080", fmt.Sprintf("127.0.0.1:%d", free), 1)
		if a := cluster.Get(t, here, ""); a.Status != 200 {
			t.Errorf("%s: %d", address[1], a.Status)
		}
	}
	// An interrupted go run exits with 1 itself, and prints how its program ended
	// if that was not in order.
	dev.Interrupt()
	dev.Wait()
	if strings.Contains(dev.Output(), "exit status") || strings.Contains(dev.Output(), "signal: ") {
		t.Errorf("wsnode dev did not end cleanly:\n%s", dev.Output())
	}
}

func TestReadmeSnippetsConnectTwoPeople(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	dev := cluster.StartDev(t)
	discovery, redirect, tiptap := r.javascript[0], r.javascript[1], r.javascript[2] // examples/tokens runs the fourth
	const exported = "\nexport { doc, provider }\n"
	for name, code := range map[string][2]string{
		"y-websocket, discovery first":   {discovery + exported, discovery + exported},
		"y-websocket, connect and catch": {discovery + exported, redirect + exported},
		"TipTap":                         {discovery + tiptap + exported + "export { editor }\n", discovery + tiptap + exported + "export { editor }\n"},
	} {
		t.Run(name, func(t *testing.T) {
			document := "readme-" + strings.ReplaceAll(name, " ", "-")
			document = strings.ReplaceAll(document, ",", "")
			ann := startPage(t, dev, document, code[0], "Ann", "Bob")
			ann.expect("open")
			bob := startPage(t, dev, document, code[1], "Bob", "Ann")
			bob.expect("open")
			ann.expect("met")
			bob.expect("met")
		})
	}
}

// page is a person's page that runs code of the README.
type page struct {
	t     *testing.T
	lines *bufio.Scanner
}

// startPage runs a snippet against dev instead of the ports in the README.
func startPage(t *testing.T, dev *cluster.Dev, document, code, name, peer string) *page {
	t.Helper()
	code = strings.NewReplacer(
		"127.0.0.1:8080", dev.Addr(cluster.EU, 0),
		"127.0.0.1:8090", dev.Addr(cluster.US, 0),
		"my-document", document,
		"'Ann'", "'"+name+"'",
	).Replace(code)
	dir, err := os.MkdirTemp(yjs.Dir(), ".readme-") // beside the packages that it imports
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "snippet.mjs")
	if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "readme.mjs", file, name, peer)
	cmd.Dir = yjs.Dir()
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(yjs.Patience, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s's page: %v", name, err)
		}
		timeout.Stop()
	})
	return &page{t, bufio.NewScanner(stdout)}
}

// expect waits for the page to print a line.
func (p *page) expect(line string) {
	p.t.Helper()
	for p.lines.Scan() {
		if p.lines.Text() == line {
			return
		}
	}
	p.t.Fatalf("the page ended before it printed %q", line)
}
