package differential

import (
	"fmt"
	"testing"
)

// Histories that a generator finds too rarely, and such as it found once.
func TestCasesThatBrokeClientsOnce(t *testing.T) {
	at := func(client, clock uint64) *id { return &id{client, clock} }
	one := func(client, clock uint64, pieces ...piece) update {
		return update{blocks: []block{{client: client, clock: clock, pieces: pieces}}}
	}
	key := "k"
	typ := piece{kind: kindType, length: 1, content: []byte{1}, root: "list"}              // 1:0
	value := piece{kind: kindAny, length: 1, content: []byte{1, 125, 7}, sub: &key}        // 1:1
	value.parent = at(1, 0)                                                                //
	several := piece{kind: kindString, length: 3, content: text(nil, "abc")}               // 2:0
	several.origin = at(1, 1)                                                              //
	named := piece{kind: kindString, length: 3, content: text(nil, "abc"), sub: &key}      // 2:0
	named.parent = at(1, 0)                                                                //
	cut := piece{kind: kindString, length: 1, content: text(nil, "x"), origin: at(2, 0)}   // 3:0
	beside := piece{kind: kindString, length: 1, content: text(nil, "y"), right: at(2, 2)} // 4:0
	gone := func(client, clock, length uint64) update {
		return update{deletes: []deletion{{client, clock, length}}}
	}
	histories := map[string][]update{
		"values cut in two by what comes between": {one(1, 0, typ, value), one(2, 0, several), one(3, 0, cut), gone(1, 0, 1)},
		"values cut in two by a right neighbour":  {one(1, 0, typ, value), one(2, 0, several), one(4, 0, beside), gone(1, 0, 1)},
		"values cut in two by a deletion":         {one(1, 0, typ, value), one(2, 0, several), gone(2, 1, 1), gone(1, 0, 1)},
		"values that name the key":                {one(1, 0, typ), one(2, 0, named), one(3, 0, cut), gone(1, 0, 1)},
		"values that wait for their key":          {one(2, 0, several), one(3, 0, cut), one(1, 0, typ, value), gone(1, 0, 1)},
		"values that wait, and a deletion":        {one(2, 0, several), gone(2, 2, 1), one(1, 0, typ, value), gone(1, 0, 1)},
		"values beside what was collected":        {one(1, 0, typ, value), one(9, 0, typ), gone(1, 0, 2), one(2, 0, several), one(3, 0, cut)},
		"values behind a gap":                     {one(1, 0, typ, value), one(2, 1, piece{kind: kindString, length: 3, content: text(nil, "abc"), origin: at(1, 1)}), one(3, 0, piece{kind: kindString, length: 1, content: text(nil, "x"), origin: at(2, 1)}), gone(1, 0, 1), one(2, 0, typ)},
	}
	for seed, levels := range []int{150, 210, 190, 400, 190, 120} {
		g := newGenerator(uint64(seed))
		histories[fmt.Sprintf("%d types in each other, seed %d", levels, seed)] = append([]update{one(1<<40, 0, typ)}, g.chain(levels)...)
	}
	var names []string
	var trials []trial
	refused := map[string]int{}
	for name, updates := range histories {
		tr, fault := take(history{tidy: true, updates: updates}, refused)
		if fault != "" {
			t.Errorf("%s: %s", name, fault)
			continue
		}
		names, trials = append(names, name), append(trials, tr)
	}
	t.Log(refused)
	for _, version := range versions {
		j := startJudge(t, version)
		verdicts, err := j.judge(trials)
		j.stop()
		for i, v := range verdicts {
			for _, f := range faults(version, trials[i], v) {
				t.Errorf("%s: %s\n%s", names[i], f, history{updates: histories[names[i]]})
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", names[len(verdicts)], err)
		}
	}
}
