package awareness

import "bytes"

// Own is the newest state that a client told of itself, for who speaks for the client when
// its session goes on elsewhere. The zero value has heard nothing.
type Own struct {
	is    bool
	entry Entry
}

// Note takes an update of the client. As for Session.Self, the first that is about one
// client is about its own; what it passes on of others is theirs.
func (o *Own) Note(update []byte) {
	entries, err := Decode(update, new(Drops))
	if err != nil {
		return // whom it goes to will tell the client
	}
	if !o.is && (len(entries) != 1 || entries[0].State == nil) {
		return
	}
	for _, e := range entries {
		if o.is && (e.Client != o.entry.Client || e.Clock < o.entry.Clock) {
			continue
		}
		e.State = bytes.Clone(e.State)
		o.is, o.entry = true, e
	}
}

// Update is that state as an update; nil: nothing was heard, or the client took it back.
func (o *Own) Update() []byte {
	if o.entry.State == nil {
		return nil
	}
	return Append(nil, []Entry{o.entry})
}
