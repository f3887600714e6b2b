package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A preload is a document with a history: what was typed and deleted in it, and its text.
type preload struct {
	doc     *document
	updates [][]byte // one edit each
	clocks  []uint32 // next clock, by writer
	end     *id      // the last character ever inserted at the end; nil in an empty text
	truth   Text
}

// newPreload writes a document as a few people do who take turns: someone moves the
// cursor, then types a few characters or deletes a few.
func (r *Runner) newPreload(o JoinOptions) *preload {
	p := &preload{doc: r.newDocument("join", o.Writers), clocks: make([]uint32, o.Writers)}
	// order holds every character ever inserted, in the order of the text, deleted ones too.
	type place struct {
		id
		gone bool
	}
	order := make([]place, 0, o.Edits)
	for len(p.updates) < o.Edits {
		burst := min(1+r.random.IntN(2*burstMean-1), o.Edits-len(p.updates))
		at := r.random.IntN(len(order) + 1)
		if r.random.Float64() < o.Deletes {
			for ; burst > 0 && at < len(order); at++ {
				if order[at].gone {
					continue
				}
				order[at].gone = true
				p.updates = append(p.updates, appendDelete(nil, order[at].id, 1))
				burst--
			}
			continue
		}
		who := r.random.IntN(o.Writers)
		typed := make([]place, 0, burst)
		var origin, right *id
		if at > 0 {
			origin = &order[at-1].id
		}
		if at < len(order) {
			right = copied(&order[at].id)
		}
		for range burst {
			one := place{id: id{p.doc.base + uint64(who), p.clocks[who]}}
			p.clocks[who]++
			char := [1]byte{character(who, one.clock)}
			p.updates = append(p.updates, appendInsert(nil, one.id, origin, right, char[:]))
			typed = append(typed, one)
			origin = &typed[len(typed)-1].id
		}
		order = append(order, typed...)
		copy(order[at+len(typed):], order[at:len(order)-len(typed)])
		copy(order[at:], typed)
	}
	for _, update := range p.updates {
		if err := p.truth.Apply(update); err != nil {
			panic(err) // our own updates are well-formed
		}
	}
	p.end = &order[len(order)-1].id
	return p
}

// burstMean is how many characters are typed or deleted at one place on average. With it
// Yjs encodes 100,000 edits in about 400,000 bytes.
const burstMean = 7

// upload sends the edits one by one and waits until the server has the text.
func (p *preload) upload(ctx context.Context, author *client) error {
	r := author.runner
	author.keep = func([]byte) {}
	author.dial()
	if err := r.synced(ctx, author); err != nil {
		return err
	}
	for i, update := range p.updates {
		author.sendUpdate(update)
		if i%1000 == 999 {
			// No more than the server takes: it should not have to hold the rest.
			err := r.wait(ctx, time.Minute, "upload", func() bool { return len(author.ws.sock.out) == 0 || author.err != nil })
			if err != nil || author.err != nil {
				return errors.Join(err, author.err)
			}
			r.loop.poll(0)
		}
	}
	var got []byte
	author.keep = func(update []byte) { got = append([]byte(nil), update...) }
	author.sendMessage(messageSync, appendBytes([]byte{syncStep1}, []byte{0}))
	if err := r.wait(ctx, 5*time.Minute, "upload", func() bool { return got != nil || author.err != nil }); err != nil || author.err != nil {
		return errors.Join(err, author.err)
	}
	r.progress("%s: %s edits are up, %s bytes", p.doc.name, format(float64(len(p.updates))), format(float64(len(got))))
	if err := p.compare(got); err != nil {
		return fmt.Errorf("after the upload: %w", err)
	}
	author.keep = func([]byte) {}
	r.pause(ctx, time.Second)
	return nil
}

// append types one more character at the end of the text.
func (p *preload) append(author *client) {
	at := id{p.doc.base, p.clocks[0]}
	p.clocks[0]++
	char := [1]byte{character(0, at.clock)}
	update := appendInsert(nil, at, p.end, nil, char[:])
	p.end = &at
	if err := p.truth.Apply(update); err != nil {
		panic(err) // our own updates are well-formed
	}
	author.sendUpdate(update)
}

// stateVector is that of somebody who has it all.
func (p *preload) stateVector() []byte {
	to := appendUint(nil, uint64(len(p.clocks)))
	for i, clock := range p.clocks {
		to = appendID(to, id{p.doc.base + uint64(i), clock})
	}
	return to
}

// compare fails unless the update makes exactly the text.
func (p *preload) compare(update []byte) error {
	var t Text
	if err := t.Apply(update); err != nil {
		return err
	}
	if err := t.Check(); err != nil {
		return err
	}
	if got, want := t.String(), p.truth.String(); got != want {
		return fmt.Errorf("%d characters where there should be %d, or others", len(got), len(want))
	}
	return nil
}
