package carry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/relay/wire"
)

const (
	// writeTimeout is how long a message may take to the home, and a second more for each
	// writeRate of it.
	writeTimeout = 30 * time.Second
	writeRate    = 128 << 10

	// silence is from when on a home is dead that said nothing: nodes ping every 20 s.
	silence = 45 * time.Second
	// lookEvery is how often that is looked at.
	lookEvery = 5 * time.Second
	// aliveEvery is how often the home hears something while it is not read, whose pings
	// are not answered meanwhile.
	aliveEvery = 20 * time.Second
)

// send writes to the home what the client sent, until the queue is closed. For clients that
// count acknowledgements the link asks whether all is saved, once behind all that waited.
func (l *Link) send() {
	for {
		messages, due, ok := l.up.take()
		if !ok {
			return
		}
		if due > 0 {
			messages = append(messages, wire.Encode(wire.SyncStatus, l.asking.ask(due)).Content())
		}
		for i, message := range messages {
			if l.writeHome(message) != nil {
				return // receive meets the same error, and says why
			}
			if due == 0 || i < len(messages)-1 {
				l.up.written(len(message))
			}
		}
	}
}

func (l *Link) writeHome(message []byte) error {
	ctx, cancel := context.WithTimeout(l.ctx, writeTimeout+time.Duration(len(message)/writeRate)*time.Second)
	defer cancel()
	l.carrier.toHomes.Add(int64(len(message)))
	return l.ws.Write(ctx, websocket.MessageBinary, message)
}

// receive hands the client what the home sends, until that ends.
func (l *Link) receive() error {
	if err := l.deliver(l.first); err != nil {
		return err
	}
	l.first = nil
	var buffer bytes.Buffer
	for {
		kind, r, err := l.ws.Reader(l.ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return errText
		}
		if buffer.Cap() > maxKeptBuffer {
			buffer = bytes.Buffer{}
		}
		buffer.Reset()
		if _, err := buffer.ReadFrom(hearing{l, r}); err != nil {
			return err
		}
		if err := l.deliver(buffer.Bytes()); err != nil {
			return err
		}
	}
}

// hearing is a message that comes in parts, each of which is a sign of life.
type hearing struct {
	link *Link
	io.Reader
}

func (h hearing) Read(p []byte) (int, error) {
	h.link.hear()
	return h.Reader.Read(p)
}

// maxKeptBuffer keeps a rare large message from staying in memory.
const maxKeptBuffer = 64 << 10

// deliver does what a message of the home asks for, and waits while the client is behind.
func (l *Link) deliver(message []byte) error {
	if len(message) > 1 && message[0] == typeAuth && message[1] == authPermissionDenied {
		if payload, _, err := wire.Bytes(message[2:]); err == nil && l.plain() {
			l.write(wire.PermissionDenied, payload)
		} else if err == nil {
			l.acknowledge(l.asking.denied(), false)
		}
		return nil
	}
	m, err := wire.Decode(message)
	if err != nil {
		return err
	}
	switch m.Kind {
	case wire.Step1:
		l.mu.Lock()
		l.step1 = bytes.Clone(m.Payload)
		l.mu.Unlock()
		l.write(m.Kind, m.Payload)
	case wire.Step2, wire.Update, wire.Awareness:
		l.write(m.Kind, m.Payload)
	case wire.Stateless:
		if !l.plain() {
			l.write(m.Kind, m.Payload)
		}
	case wire.SyncStatus:
		if l.plain() {
			l.asking.noted(m.Payload)
			l.write(m.Kind, m.Payload)
		} else {
			l.acknowledge(l.asking.answered(m.Payload), true)
		}
	}
	return l.yield()
}

const (
	typeAuth             = 2 // of y-protocols
	authPermissionDenied = 0
)

// yield waits while the client is behind.
func (l *Link) yield() error {
	if !l.down.full(l.conn) {
		return nil
	}
	ticker := time.NewTicker(aliveEvery)
	defer ticker.Stop()
	for l.down.full(l.conn) {
		select {
		case <-l.down.room:
		case <-ticker.C:
			l.hear()
			l.up.alive()
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	l.hear()
	return nil
}

var errSilent = errors.New("nothing came from the home")

// Run ends links whose home is silent, until ctx ends.
func (c *Carrier) Run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.endSilent()
		}
	}
}

// endSilent ends links whose home is silent now.
func (c *Carrier) endSilent() {
	for _, l := range c.links.All() {
		if time.Since(began)-time.Duration(l.heard.Load()) > silence {
			l.over(errSilent)
		}
	}
}
