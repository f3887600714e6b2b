// Package apps holds what an operator sets for single apps: a YAML file of rules, read
// at the start and again when the operator says so.
//
//	apps:
//	  - app: acme/drafts # tenant/app; a * stands for any characters
//	    regions: [eu-*]
//	  - app: "*/*"
//	    ack: stored
//
// Rules are looked at from top to bottom, and each setting of an app is that of the first
// rule that names the app and the setting. What no rule names has its default.
package apps

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"go.yaml.in/yaml/v3"

	"github.com/wsnode/wsnode/docid"
)

// Settings are what holds for one app. The zero value holds the defaults. Immutable.
type Settings struct {
	// Regions are patterns of the WebSocket regions in which the app's documents may be:
	// names, in which a * stands for any characters. Empty: all.
	Regions []string
	// Ack says what an acknowledgement to a client means. Empty: AckDurable.
	Ack Ack
	// Elsewhere says what becomes of clients of y-websocket whose document is in another
	// region. Empty: as the node is told.
	Elsewhere Elsewhere
	// Stateless says what becomes of stateless messages of Hocuspocus' clients. Empty: what
	// the node does by default.
	Stateless Stateless
	// KeepDeleted says that the content of what is deleted is kept, for clients with
	// gc: false that restore snapshots.
	KeepDeleted bool
}

// In reports whether the app's documents may be in the region.
func (s Settings) In(r docid.Region) bool {
	for _, pattern := range s.Regions {
		if matches(pattern, string(r)) {
			return true
		}
	}
	return len(s.Regions) == 0
}

// Ack is what a client is told when it is told that its edits are saved.
type Ack string

// The meanings of an acknowledgement.
const (
	AckDurable Ack = "durable" // the region's history has the edit
	AckStored  Ack = "stored"  // the document's store has it too
)

// Elsewhere is what becomes of a client of y-websocket whose document is in another region.
type Elsewhere string

// What becomes of it.
const (
	Redirect Elsewhere = "redirect" // it is told where, by code 4009
	Carry    Elsewhere = "carry"    // the node relays it there
)

// Valid reports whether it is one of the two.
func (e Elsewhere) Valid() bool { return e == Redirect || e == Carry }

// Stateless is what becomes of a stateless message.
type Stateless string

// What may become of it.
const (
	StatelessOff       Stateless = "off"       // it is dropped
	StatelessBroadcast Stateless = "broadcast" // all other clients of the document get it
)

// Valid reports whether it is one of them.
func (s Stateless) Valid() bool { return s == StatelessOff || s == StatelessBroadcast }

// Rule is one entry of the file: what it does not name is nil.
type Rule struct {
	App     string    `yaml:"app"` // pattern of tenant/app
	Regions *[]string `yaml:"regions"`
	Ack     *Ack      `yaml:"ack"`

	Elsewhere *Elsewhere `yaml:"elsewhere"`
	Stateless *Stateless `yaml:"stateless"`

	KeepDeleted *bool `yaml:"keep-deleted"`
}

// fill sets what the rule names and no rule before it has named.
func (r *Rule) fill(into *Rule) {
	first(&into.Regions, r.Regions)
	first(&into.Ack, r.Ack)
	first(&into.Elsewhere, r.Elsewhere)
	first(&into.Stateless, r.Stateless)
	first(&into.KeepDeleted, r.KeepDeleted)
}

func first[T any](into **T, value *T) {
	if *into == nil {
		*into = value
	}
}

func (r *Rule) settings() Settings {
	return Settings{Regions: orZero(r.Regions), Ack: orZero(r.Ack), Elsewhere: orZero(r.Elsewhere), Stateless: orZero(r.Stateless), KeepDeleted: orZero(r.KeepDeleted)}
}

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// check says what is wrong with the rule itself.
func (r *Rule) check() error {
	tenant, app, ok := strings.Cut(r.App, "/")
	if !ok || !isPattern(tenant) || !isPattern(app) {
		return fmt.Errorf("app: %q: expected tenant/app, in both of which a * stands for any characters", r.App)
	}
	if r.Regions != nil {
		if len(*r.Regions) == 0 {
			return errors.New("regions: is empty: expected names of regions, such as [eu-*], or no such line for all")
		}
		for _, region := range *r.Regions {
			if !isPattern(region) {
				return fmt.Errorf("regions: %q: expected the name of a region, in which a * stands for any characters", region)
			}
		}
	}
	if r.Ack != nil && *r.Ack != AckDurable && *r.Ack != AckStored {
		return fmt.Errorf("ack: %q: expected %s or %s", *r.Ack, AckDurable, AckStored)
	}
	if r.Elsewhere != nil && !r.Elsewhere.Valid() {
		return fmt.Errorf("elsewhere: %q: expected %s or %s", *r.Elsewhere, Redirect, Carry)
	}
	if r.Stateless != nil && !r.Stateless.Valid() {
		return fmt.Errorf("stateless: %q: expected %s or %s", *r.Stateless, StatelessOff, StatelessBroadcast)
	}
	return nil
}

// isPattern reports whether s is an id with any number of stars.
func isPattern(s string) bool { return s != "" && docid.ValidID(strings.ReplaceAll(s, "*", "x")) }

// matches is for patterns that isPattern has passed: the only special character is *.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// File is a file of rules. The nil File has none. Its methods may be called at the same
// time by several goroutines.
type File struct {
	path  string
	check func(Rule) error
	rules atomic.Pointer[[]Rule]
}

// Open reads the rules. check, which may be nil, says what a rule asks for that the node
// cannot do; a file with such a rule is refused as a whole.
func Open(path string, check func(Rule) error) (*File, error) {
	f := &File{path: path, check: check}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the file again. On an error what was read before stays.
func (f *File) Reload() error {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	rules, err := parse(data, f.check)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.rules.Store(&rules)
	return nil
}

// Of returns what holds for the app. Its cost grows with the number of rules, some 50 ns
// for each: it is for the connect of a client and the opening of a document, not for
// edits.
func (f *File) Of(app docid.AppID) Settings {
	if f == nil {
		return Settings{}
	}
	name := string(app.Tenant) + "/" + string(app.App)
	var all Rule
	for i := range *f.rules.Load() {
		if r := &(*f.rules.Load())[i]; matches(r.App, name) {
			r.fill(&all)
		}
	}
	return all.settings()
}

// parse reads the only key of the file. Unknown keys are refused: a misspelt setting
// would silently not hold.
func parse(data []byte, check func(Rule) error) ([]Rule, error) {
	var file struct {
		Apps []Rule `yaml:"apps"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for i, r := range file.Apps {
		err := r.check()
		if err == nil && check != nil {
			err = check(r)
		}
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return file.Apps, nil
}
