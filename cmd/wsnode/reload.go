package main

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// reload is something that was read from files and can be read again while the node
// runs. What cannot be read stays as it was.
type reload struct {
	what  string
	again func() error
}

// hangups take SIGHUP, which never ends a node: it has files read again. Credentials
// of NATS need no signal, since they are read at each connect.
type hangups struct {
	signals chan os.Signal
	done    chan struct{}
	running sync.WaitGroup
}

func listenForHangups() *hangups {
	h := &hangups{signals: make(chan os.Signal, 1), done: make(chan struct{})}
	signal.Notify(h.signals, syscall.SIGHUP)
	return h
}

// reload begins to work the signals off.
func (h *hangups) reload(all []reload, log *slog.Logger) {
	h.running.Go(func() {
		for {
			select {
			case <-h.done:
				return
			case <-h.signals:
			}
			readAgain(all, log)
		}
	})
}

func readAgain(all []reload, log *slog.Logger) {
	var read []string
	for _, r := range all {
		if err := r.again(); err != nil {
			log.Error("SIGHUP: cannot be read again, the old one stays", "what", r.what, "error", err)
			continue
		}
		read = append(read, r.what)
	}
	log.Info("SIGHUP: read again", "what", read)
}

func (h *hangups) stop() {
	close(h.done)
	h.running.Wait()
	signal.Stop(h.signals)
}
