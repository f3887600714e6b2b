package relay

import "github.com/wsnode/wsnode/docid"

// Presence is one session, and the awareness client that it speaks for.
type Presence struct {
	Document docid.Document
	Client   uint64 // 0: it has not said
}

// Presence returns the sessions of this node.
func (n *Node) Presence() []Presence {
	seated := n.clients.seated()
	all := make([]Presence, len(seated))
	for i, s := range seated {
		all[i] = s.presence()
	}
	return all
}

// Cut ends the sessions that match without a close frame, as a lost network
// does, and returns how many.
func (n *Node) Cut(match func(Presence) bool) (cut int) {
	for _, v := range n.clients.seated() {
		if match(v.presence()) {
			v.session.End()
			cut++
		}
	}
	return cut
}

func (s *seated) presence() Presence {
	p := Presence{Document: s.doc}
	if s.seat != nil {
		p.Client = s.seat.Client()
	}
	return p
}
