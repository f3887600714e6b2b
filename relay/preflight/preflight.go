// Package preflight looks at everything that a node stands on before it takes clients:
// NATS, registries, histories, stores, keys, clocks and what the process may use. Each
// check is independent and says by name what it found and how to mend it. Nothing is
// changed, but for a write and its undoing on a store's marker.
package preflight

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/wsnode/wsnode/docid"
)

// Finding is what one check found.
type Finding struct {
	License docid.LicenseRegion `json:"license"` // empty: it is about no single registry
	Check   string              `json:"check"`
	Result  string              `json:"result"` // OK, Unknown, Weak or Wrong
	Detail  string              `json:"detail"`
	Mend    string              `json:"mend,omitempty"` // what to do about it
	// Figures are the numbers of Detail, for scripts; their names hold the units.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// The results. Only what is wrong makes a check fail: what is weak is a choice, right
// on one's own machine and risky in production.
const (
	OK      = "ok"
	Unknown = "unknown"
	Weak    = "weak"
	Wrong   = "wrong"
)

// CountWrong is how many of the findings are wrong.
func CountWrong(findings []Finding) (wrong int) {
	for _, f := range findings {
		if f.Result == Wrong {
			wrong++
		}
	}
	return wrong
}

// Text is the finding in one sentence, with what mends it.
func (f Finding) Text() string {
	if f.Mend == "" {
		return f.Detail
	}
	return f.Detail + "; to mend it: " + f.Mend
}

// DefaultTimeout is how long a check waits for an answer.
const DefaultTimeout = 5 * time.Second

// report gathers findings. It belongs to one goroutine.
type report struct {
	license  docid.LicenseRegion
	findings []Finding
}

func (r *report) add(check, result, mend, format string, args ...any) {
	if result == OK {
		mend = ""
	}
	r.findings = append(r.findings, Finding{License: r.license, Check: printable(check), Result: result, Detail: printable(fmt.Sprintf(format, args...)), Mend: printable(mend)})
}

// printable keeps what others wrote from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// measured adds figures to the finding that was added last.
func (r *report) measured(figures map[string]float64) {
	r.findings[len(r.findings)-1].Figures = figures
}

// together runs checks at once, and returns what they found in their order.
func together(ctx context.Context, checks ...func(context.Context) []Finding) (findings []Finding) {
	found := make([][]Finding, len(checks))
	var wait sync.WaitGroup
	for i, check := range checks {
		wait.Go(func() { found[i] = check(ctx) })
	}
	wait.Wait()
	for _, f := range found {
		findings = append(findings, f...)
	}
	return findings
}

// plural prints a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// bytesText prints a size in a sentence.
func bytesText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size /= 1 << 10; size < 1<<10 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
