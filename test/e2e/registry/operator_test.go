package registry

import (
	"encoding/json"
	"slices"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/wait"
)

// What an operator is told by wsctl.

// pin is one line of `wsctl pins list`.
type pin struct {
	Name   string   `json:"name"`
	State  string   `json:"state"`
	Region string   `json:"region"`
	Nodes  []string `json:"nodes"`
	Epoch  string   `json:"epoch"`
}

// nodeLine is one line of `wsctl nodes list`.
type nodeLine struct {
	Node    string `json:"node"`
	Reached bool   `json:"reached"`
	Leases  []struct {
		ID string `json:"id"`
	} `json:"leases"`
	Registries []struct {
		Current bool   `json:"current"`
		ID      string `json:"id"`
		Owed    int    `json:"owed"`
	} `json:"registries"`
}

// wsctl runs it against both regions and the registry, and decodes what it prints.
func (w *world) wsctl(into any, args ...string) {
	w.t.Helper()
	args = append(args, "-o", "json", "--nats-url", w.eu.nats[0].URL)
	if w.us != nil {
		args = append(args, "--nats-url", w.us.nats[0].URL, "--registry", license+"="+w.registry.URL)
	}
	out := cluster.Wsctl(w.t, args...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		w.t.Fatalf("wsctl %q: %v\n%s", args, err, out)
	}
}

// pins returns all pins by the names of their documents.
func (w *world) pins() map[string]pin {
	w.t.Helper()
	var list []pin
	w.wsctl(&list, "pins", "list")
	pins := map[string]pin{}
	for _, p := range list {
		slices.Sort(p.Nodes)
		pins[p.Name] = p
	}
	return pins
}

func (w *world) nodeLines() (list []nodeLine) {
	w.t.Helper()
	w.wsctl(&list, "nodes", "list")
	return list
}

// waitDurable waits until so many rooms have all their edits in the history. It
// looks twice, since edits wait up to 50 ms before they are sent.
func (w *world) waitDurable(rooms int) {
	w.t.Helper()
	looks := 0
	wait.Within(w.t, settle, "all edits are durable", func() bool {
		var list []struct {
			Unacked int `json:"unackedBytes"`
			Structs int `json:"structs"`
		}
		w.wsctl(&list, "docs", "list")
		durable := 0
		for _, d := range list {
			if d.Unacked == 0 && d.Structs > 0 {
				durable++
			}
		}
		if looks++; durable != rooms {
			looks = 0
		}
		return looks == 2
	})
}

// settled reports whether so many nodes run, know their leases as the registry has
// them, and owe it nothing.
func (w *world) settled(nodes int) bool {
	w.t.Helper()
	lines := w.nodeLines()
	for _, n := range lines {
		if !n.Reached || len(n.Registries) != 1 || len(n.Leases) != 1 || n.Registries[0].ID != n.Leases[0].ID || !n.Registries[0].Current || n.Registries[0].Owed > 0 {
			return false
		}
	}
	return len(lines) == nodes
}
