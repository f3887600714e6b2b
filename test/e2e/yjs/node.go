// Package yjs drives real Yjs clients from Go tests: documents with y-websocket
// providers that live in a Node process of their own. Waiting is done there, on
// events of the documents, never by sleeping.
package yjs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Node is one Node process. Its methods may be called concurrently; like
// testing.TB.Fatal, those without an error result must run in the test's own
// goroutine.
type Node struct {
	tb     testing.TB
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	done   chan struct{} // closed when standard output ended

	mu      sync.Mutex
	next    int
	pending map[int]chan<- reply
	clients int
}

type request struct {
	ID   int    `json:"id"`
	Do   string `json:"do"`
	Args any    `json:"args"`
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

// Dir is the folder of the npm packages and scripts.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "node")
}

// Start starts a Node process, which ends with the test.
func Start(tb testing.TB) *Node {
	tb.Helper()
	n := &Node{tb: tb, pending: map[int]chan<- reply{}, done: make(chan struct{})}
	n.cmd = exec.Command("node", "driver.mjs")
	n.cmd.Dir = Dir()
	n.cmd.Stderr = &n.stderr
	var err error
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		tb.Fatalf("start node: %v", err)
	}
	go n.read(stdout)
	tb.Cleanup(n.stop)
	return n
}

func (n *Node) stop() {
	n.stdin.Close()
	<-n.done
	err := n.cmd.Wait()
	if err != nil || n.tb.Failed() {
		n.tb.Logf("node ended: %v\n%s", err, n.stderr.Bytes())
	}
	if err != nil {
		n.tb.Errorf("node: %v", err)
	}
}

func (n *Node) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var r reply
		if err := json.Unmarshal(line, &r); err != nil {
			r.Error = fmt.Sprintf("node printed %q", line)
		}
		n.mu.Lock()
		answer := n.pending[r.ID]
		delete(n.pending, r.ID)
		n.mu.Unlock()
		if answer != nil {
			answer <- r
		}
	}
	close(n.done)
}

// patience bounds requests whose own time limit did not work.
const patience = 5 * time.Minute

// call sends a request and decodes its result into out, unless out is nil.
func (n *Node) call(do string, args, out any) error {
	answer := make(chan reply, 1)
	n.mu.Lock()
	n.next++
	line, err := json.Marshal(request{n.next, do, args})
	if err == nil {
		n.pending[n.next] = answer
		_, err = n.stdin.Write(append(line, '\n'))
	}
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return fmt.Errorf("%s: %s", do, r.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(r.Result, out)
	case <-n.done:
		return fmt.Errorf("%s: node has ended", do)
	case <-time.After(patience):
		return fmt.Errorf("%s: %w", do, errNoAnswer)
	}
}

var errNoAnswer = errors.New("no answer from node")

func (n *Node) must(do string, args, out any) {
	n.tb.Helper()
	if err := n.call(do, args, out); err != nil {
		n.tb.Fatal(err)
	}
}

type object = map[string]any

// Read returns the text of a document that is one update, as Y.applyUpdate reads it.
func (n *Node) Read(update []byte) (text string) {
	n.tb.Helper()
	n.must("read", object{"update": update}, &text)
	return text
}

// TypeTogether lets all clients make edits edits each, inserts and deletions,
// concurrently and as fast as they can. It returns when all are made, not when
// they arrived.
func (n *Node) TypeTogether(edits int, clients ...*Client) {
	n.tb.Helper()
	n.must("type", object{"clients": ids(clients), "edits": edits, "seed": 1}, nil)
}

// StartTyping lets each client make an edit every interval until StopTyping.
func (n *Node) StartTyping(interval time.Duration, clients ...*Client) {
	n.tb.Helper()
	n.must("startTyping", object{"clients": ids(clients), "interval": interval.Milliseconds(), "seed": 2}, nil)
}

// StartAsking is StartTyping in which each client asks after each edit whether all that
// it typed is saved.
func (n *Node) StartAsking(interval time.Duration, clients ...*Client) {
	n.tb.Helper()
	n.must("startTyping", object{"clients": ids(clients), "interval": interval.Milliseconds(), "seed": 2, "asks": true}, nil)
}

// Promises are what clients that were destroyed had been told about a document.
type Promises struct {
	Told   int      `json:"told"`   // edits that they were told are saved
	Lacks  []string `json:"lacks"`  // names of those that are not in it
	Behind int      `json:"behind"` // how many of them, as Yjs clients, it has not up to what they were told
}

// Promises compares a document that is one update, as Y.applyUpdate reads it, with what
// clients that were destroyed had been told about the one of that name.
func (n *Node) Promises(document string, update []byte) (p Promises) {
	n.tb.Helper()
	n.must("lacks", object{"document": document, "update": update}, &p)
	return p
}

// Holes reports whether a client of a document was destroyed that had not been told that
// all of its edits are saved. Others may wait for them for ever.
func (n *Node) Holes(document string) (are bool) {
	n.tb.Helper()
	n.must("holes", object{"document": document}, &are)
	return are
}

// StopTyping ends StartTyping and returns how many edits each client has made
// in its life.
func (n *Node) StopTyping(clients ...*Client) (edits []int) {
	n.tb.Helper()
	n.must("stopTyping", object{"clients": ids(clients)}, &edits)
	return edits
}

// WaitSame waits until the clients' documents are identical and hold every edit
// that any of them typed.
func (n *Node) WaitSame(within time.Duration, clients ...*Client) {
	n.tb.Helper()
	n.must("same", object{"clients": ids(clients), "timeout": within.Milliseconds()}, nil)
}

func ids(clients []*Client) []string {
	names := make([]string, len(clients))
	for i, c := range clients {
		names[i] = c.id
	}
	return names
}
