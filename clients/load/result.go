package load

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A Value is one figure of a result.
type Value struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// A Result is what a scenario found out about a target.
type Result struct {
	Scenario string   `json:"scenario"`
	Target   string   `json:"target"`
	Values   []Value  `json:"values"`
	Faults   Faults   `json:"faults"`
	Notes    []string `json:"notes,omitempty"`
}

// Value is the figure of that name.
func (r *Result) Value(name string) (float64, bool) {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
}

func (r *Result) add(name, unit string, value float64) {
	r.Values = append(r.Values, Value{name, unit, value})
}

// WriteTable writes results for people.
func WriteTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\n", r.Scenario, r.Target)
		for _, v := range r.Values {
			fmt.Fprintf(t, "  %s\t%s %s\n", v.Name, format(v.Value), v.Unit)
		}
		if r.Faults.Any() || r.Faults.Duplicated > 0 {
			fmt.Fprintf(t, "  faults\t%s\n", r.Faults)
		}
		for _, note := range r.Notes {
			fmt.Fprintf(t, "  note\t%s\n", note)
		}
	}
	return t.Flush()
}

// format writes three digits that count, and thousands apart.
func format(v float64) string {
	switch {
	case v < 0:
		return "-" + format(-v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
