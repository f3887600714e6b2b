package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/test/ports"
)

// A contender is a server, or several, that can be started for a scenario.
type contender struct {
	name  string
	nodes int
	start func(*host) error
}

// A host holds the processes of one start of a contender. All run on the core of the servers.
type host struct {
	directory string // of the npm packages
	wsnode    string // the daemon's binary
	core      int
	env       []string // for all processes
	log       io.Writer

	target    load.Target
	processes []*exec.Cmd
	temporary []string
}

// contenders are in the order of the table's columns.
var contenders = []contender{
	{name: "wsnode", nodes: 1, start: startWsnode(1)},
	{name: "wsnode ×2", nodes: 2, start: startWsnode(2)},
	{name: "wsnode, Hocuspocus' wire", nodes: 1, start: startWsnodeShared},
	{name: "@y/websocket-server", nodes: 1, start: startYWebsocket},
	{name: "Hocuspocus", nodes: 1, start: startHocuspocus},
	{name: "Hocuspocus ×2 + Redis", nodes: 2, start: startHocuspocusRedis},
}

func startYWebsocket(h *host) error {
	port, err := ports.Take(1)
	if err != nil {
		return err
	}
	h.target.URLs = []string{fmt.Sprintf("ws://127.0.0.1:%d", port)}
	return h.run(port, []string{"HOST=127.0.0.1", "PORT=" + strconv.Itoa(port)},
		h.node(), filepath.Join(h.directory, "node_modules/@y/websocket-server/src/server.js"))
}

func startHocuspocus(h *host) error { return h.hocuspocus(nil) }

func startHocuspocusRedis(h *host) error {
	port, err := ports.Take(1)
	if err != nil {
		return err
	}
	err = h.run(port, nil, "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	for range 2 {
		if err == nil {
			err = h.hocuspocus([]string{"REDIS_PORT=" + strconv.Itoa(port)})
		}
	}
	return err
}

func (h *host) hocuspocus(env []string) error {
	port, err := ports.Take(1)
	if err != nil {
		return err
	}
	h.target.Protocol = load.Hocuspocus
	h.target.URLs = append(h.target.URLs, fmt.Sprintf("ws://127.0.0.1:%d", port))
	return h.run(port, append(env, "PORT="+strconv.Itoa(port)), h.node(), filepath.Join(h.directory, "hocuspocus.mjs"))
}

// node is Node 22, which the npm package of that name carries.
func (h *host) node() string { return filepath.Join(h.directory, "node_modules/node/bin/node") }

// startWsnode starts one region of the development daemon: embedded NATS, history, pins and
// tokens are all on. Documents are stored nowhere, as by its peers here: first saves would
// all fall into the few seconds that are measured.
func startWsnode(nodes int) func(*host) error {
	return func(h *host) error {
		port, err := ports.Take(nodes)
		if err != nil {
			return err
		}
		data, err := os.MkdirTemp("", "wsnode-bench-")
		if err != nil {
			return err
		}
		h.temporary = append(h.temporary, data)
		for i := range nodes {
			h.target.URLs = append(h.target.URLs, fmt.Sprintf("ws://127.0.0.1:%d", port+i))
		}
		h.target.TokenURL = fmt.Sprintf("http://127.0.0.1:%d/dev/token?ttl={n}s", port)
		return h.run(port+nodes-1, []string{"GOMAXPROCS=1"}, h.wsnode, "dev", "--regions", "eu-central-1",
			"--nodes", strconv.Itoa(nodes), "--port", strconv.Itoa(port), "--data", data, "--store", "none")
	}
}

// startWsnodeShared is a node whose clients speak as Hocuspocus' do, frame for frame.
func startWsnodeShared(h *host) error {
	h.target.Protocol = load.Hocuspocus
	return startWsnode(1)(h)
}

// run starts a process on the servers' core and waits until its port takes connections.
func (h *host) run(port int, env []string, name string, args ...string) error {
	command := exec.Command(name, args...)
	if h.core >= 0 {
		command = exec.Command("taskset", append([]string{"-c", strconv.Itoa(h.core), name}, args...)...)
	}
	command.Env = append(append(os.Environ(), env...), h.env...)
	command.Stdout, command.Stderr = h.log, h.log
	if err := command.Start(); err != nil {
		return err
	}
	h.processes = append(h.processes, command)
	h.target.PIDs = append(h.target.PIDs, command.Process.Pid) // taskset becomes the server: same id
	for range 200 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
			time.Sleep(500 * time.Millisecond) // what follows its first breath
			return nil
		}
		if command.Process.Signal(syscall.Signal(0)) != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s %s does not listen on port %d", name, strings.Join(args, " "), port)
}

// stop ends the processes that run started, the last first.
func (h *host) stop() {
	for i := len(h.processes) - 1; i >= 0; i-- {
		p := h.processes[i]
		p.Process.Signal(syscall.SIGTERM)
		ended := make(chan struct{})
		go func() { p.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			p.Process.Kill()
			<-ended
		}
	}
	for _, directory := range h.temporary {
		os.RemoveAll(directory)
	}
}

// versions asks what is running, for the table.
func (h *host) versions(ctx context.Context) []string {
	ask := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return "?"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return line
	}
	packaged := func(path string) string {
		f, err := os.Open(filepath.Join(h.directory, "node_modules", path, "package.json"))
		if err != nil {
			return "?"
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), `"version": "`); ok {
				return strings.Trim(rest, `",`)
			}
		}
		return "?"
	}
	wsnode := "wsnode " + ask("git", "describe", "--always")
	if exec.CommandContext(ctx, "git", "diff", "--quiet", "HEAD", "--", ".", ":!docs").Run() != nil {
		wsnode += "-dirty"
	}
	return []string{
		wsnode,
		ask("go", "env", "GOVERSION"),
		"Node " + ask(h.node(), "--version"),
		"@y/websocket-server " + packaged("@y/websocket-server") + " (@y/protocols " + packaged("@y/protocols") +
			", yjs " + packaged("@y/websocket-server/node_modules/yjs") + ", ws " + packaged("ws") + ")",
		"Hocuspocus " + packaged("@hocuspocus/server") + " (yjs " + packaged("yjs") + ")",
		ask("redis-server", "--version"),
	}
}
