package frontdoor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

// Abusers whose effect is measured are a process of their own, that runs when nobody else
// wants to: they come from elsewhere, and what they need themselves must neither take
// the node's processors nor delay who measures.

// abusersVariable, when not empty, makes this program abusers, of whom it tells.
const abusersVariable = "WSNODE_ABUSERS"

// abusers is what such a process is told.
type abusers struct {
	Unfair unfair
	Name   string // of the abuse
}

// beginApart has another process begin, and returns how it is stopped.
func (u *unfair) beginApart(t *testing.T, a abuse) (end func()) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	told, err := json.Marshal(abusers{*u, a.name})
	must(t, err)
	p := cluster.Run(t, "abusers", "env", abusersVariable+"="+string(told), "GOMAXPROCS=1", "nice", "-n", "39", program)
	p.WaitLine(func(line string) bool { return line == haveBegun })
	return func() { p.Stop() }
}

const haveBegun = "the abusers have begun"

// abusersMain abuses until the process is interrupted.
func abusersMain(told string) error {
	var b abusers
	if err := json.Unmarshal([]byte(told), &b); err != nil {
		return err
	}
	all := slices.Concat(b.Unfair.honest(), b.Unfair.abuses())
	i := slices.IndexFunc(all, func(a abuse) bool { return a.name == b.Name })
	if i < 0 {
		return fmt.Errorf("nobody knows how to do %q", b.Name)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := layTo(b.Unfair.Addr, b.Unfair.Good)
	defer s.end()
	kept := s.keep(b.Name, all[i].clients, func(conn net.Conn) error { return all[i].assault(s, conn) })
	tick := time.NewTicker(breather)
	defer tick.Stop()
	for began := false; ; {
		select {
		case <-interrupted.Done():
			return nil
		case <-tick.C:
			if !began && kept.begun.Load() >= int64(all[i].clients) {
				began = true
				fmt.Println(haveBegun)
			}
		}
	}
}
