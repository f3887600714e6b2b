package reach

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
)

// denials remembers what NATS denied last. NATS tells the connection, and does not
// answer the request.
type denials struct {
	mu   sync.Mutex
	last string // such as: Publish to "wsn.c.change.drain.eu-1"
}

var violation = regexp.MustCompile(`Permissions Violation for (\w+ to "[^"]*")`)

// note takes an error of a connection, or one that quotes it as those of registries do.
func (d *denials) note(err error) {
	if m := violation.FindStringSubmatch(err.Error()); m != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.last = m[1]
	}
}

// explain adds what was denied to an error that somebody does not answer: nobody was
// asked. It is forgotten then, since a later request may fail for another reason.
func (d *denials) explain(err error) error {
	if exit.Code(err) != exit.Unavailable {
		return err
	}
	d.note(err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == "" {
		return err
	}
	user := "READER"
	switch { // a domain comes before the names of keys
	case strings.Contains(d.last, `"wsn.c.change.`), strings.Contains(d.last, "$KV."):
		user = "OPERATOR"
	case strings.Contains(d.last, ".STREAM.CREATE."):
		user = "SETUP"
	}
	err = fmt.Errorf("%w\nNATS denied it (%s): that takes the rights of %s in deploy/nats/permissions.conf", err, d.last, user)
	d.last = ""
	return err
}
