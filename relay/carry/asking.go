package carry

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
)

// asking is what the home was asked and has not answered: whether all that was sent before
// is saved.
type asking struct {
	mu   sync.Mutex
	last uint64
	open []question // of the link, oldest first

	notes [][]byte // the client's own questions, as they came
}

// question is worth so many acknowledgements to the client.
type question struct {
	number uint64
	due    int
}

// maxNotes bounds the client's own questions that are remembered. A home answers as many;
// see room.
const maxNotes = 64

// ask makes another question.
func (a *asking) ask(due int) (payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.open = append(a.open, question{a.last, due})
	return binary.AppendUvarint(nil, a.last)
}

// answered takes an answer, and returns the acknowledgements that it is worth: what was
// asked before is saved as well.
func (a *asking) answered(payload []byte) (due int) {
	number, n := binary.Uvarint(payload)
	if n <= 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.open) > 0 && a.open[0].number <= number {
		due += a.open[0].due
		a.open = a.open[1:]
	}
	return due
}

// denied takes the latest question back: what was sent before it was not taken, which the
// home says at once.
func (a *asking) denied() (due int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(a.open) - 1
	if last < 0 {
		return 0
	}
	due = a.open[last].due
	a.open = a.open[:last]
	return due
}

// forget has no answer to what was asked be worth anything.
func (a *asking) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = nil
}

// note remembers a question of the client.
func (a *asking) note(payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.notes) == maxNotes {
		a.notes = a.notes[:maxNotes-1]
	}
	a.notes = append(a.notes, bytes.Clone(payload))
}

// noted forgets a question of the client, which is answered.
func (a *asking) noted(payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.IndexFunc(a.notes, func(n []byte) bool { return bytes.Equal(n, payload) }); i >= 0 {
		a.notes = slices.Delete(a.notes, i, i+1)
	}
}

// left are the client's questions that were not answered.
func (a *asking) left() [][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.notes
}
