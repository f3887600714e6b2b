package kvpin

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
)

const moveTest = 5 * time.Second

// moving has a node keep documents in a store and know how they move.
func moving(c *Config) {
	covered := true
	storing(&covered)(c)
	c.About = func() About { return About{Can: []string{CanStore, CanMove}} }
}

// movers are two nodes of one region, and one of another to which a document may move.
func (w *world) movers() (a, b, c *testNode) {
	return w.node("eu-central-1", "a", moving), w.node("eu-central-1", "b", moving), w.node("us-east-1", "c", moving)
}

// mark marks a held document.
func (n *testNode) mark(h *Hold, to docid.Region) (p Pin) {
	n.t.Helper()
	n.patiently(func() (err error) { p, err = h.Mark(context.Background(), to, moveTest); return err })
	return p
}

func (n *testNode) stopOthers(doc docid.Document, marked Pin, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return n.StopOthers(ctx, doc, marked)
}

func (n *testNode) was(list *[]docid.Document, doc docid.Document) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(*list, doc)
}

func TestADocumentMovesOnceAllOthersHaveStopped(t *testing.T) {
	worlds(t, func(w *world) {
		a, b, c := w.movers()
		doc := testDoc("x")
		mine, others := a.hold(doc), b.hold(doc)
		epoch := mine.Pin().Epoch
		b.failures = 2 // its history does not answer at first
		marked := a.mark(mine, "us-east-1")
		if err := a.stopOthers(doc, marked, patience(time.Minute)); err != nil || !b.was(&b.stopped, doc) || a.was(&a.stopped, doc) {
			w.t.Fatalf("b was stopped: %t: %v", b.was(&b.stopped, doc), err)
		}
		moved, err := mine.Commit(context.Background(), marked)
		if err != nil {
			w.t.Fatal(err)
		}
		select {
		case <-mine.Done():
		default:
			w.t.Error("who moved it holds it still")
		}
		p, s := c.lookup(doc)
		if s != Grace || p.Region != "us-east-1" || p.Epoch != moved.Epoch || p.Epoch == epoch || !docid.StoredEpoch(string(p.Epoch)) || p.Moving != nil {
			w.t.Errorf("it is %s: %+v", s, p)
		}
		a.EndMove(context.Background(), doc, marked)
		eventually(w.t, 10*time.Second, "b hears that it is over", func() bool { return b.was(&b.over, doc) })
		if err := others.GoOn(context.Background()); err != nil {
			w.t.Error(err)
		}
		if p, ok := b.heard(b.moved, doc); !ok || p.Region != "us-east-1" {
			w.t.Errorf("b was told of %+v", p)
		}
		var elsewhere *PinnedError
		if _, err := a.Hold(context.Background(), doc); !errors.As(err, &elsewhere) {
			w.t.Errorf("it is claimed where it was: %v", err)
		}
		if h := c.hold(doc); h.Pin().Epoch != moved.Epoch {
			w.t.Errorf("the first user there is in %s, expected %s", h.Pin().Epoch, moved.Epoch)
		}
	})
}

// A document that was moved, and that nobody opens, ends by itself.
func TestADocumentThatWasMovedWaitsForItsFirstUserAndNotForEver(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, _, c := w.movers()
		doc := testDoc("x")
		h := a.hold(doc)
		if _, err := h.Commit(context.Background(), a.mark(h, "us-east-1")); err != nil {
			w.t.Fatal(err)
		}
		took := eventually(w.t, arrivalTime+worldLate, "it is free", func() bool { _, s := c.lookup(doc); return s == Free })
		if took < arrivalTime-time.Second {
			w.t.Errorf("free after %s", took)
		}
	})
}

// While a document moves nobody else enters it; who waits gets in when it stays, is sent
// away when it has gone, and gets in as well when the mover is dead.
func TestNobodyEntersAPinThatMoves(t *testing.T) {
	ends := map[string]func(w *world, h *Hold, marked Pin){
		"given up": func(w *world, h *Hold, _ Pin) {
			if err := h.GoOn(context.Background()); err != nil {
				w.t.Error(err)
			}
		},
		"moved": func(w *world, h *Hold, marked Pin) {
			if _, err := h.Commit(context.Background(), marked); err != nil {
				w.t.Error(err)
			}
		},
		"dead": func(w *world, _ *Hold, _ Pin) { w.nodes[0].kill() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a, b, _ := w.movers()
				doc := testDoc("x")
				h := a.hold(doc)
				marked := a.mark(h, "us-east-1")
				if _, err := b.Hold(context.Background(), doc); !errors.Is(err, ErrMoving) || errors.Is(err, ErrUnavailable) {
					w.t.Fatalf("it was entered: %v", err)
				}
				end(w, h, marked)
				began := time.Now()
				var err error
				for errors.Is(err, ErrMoving) || err == nil && time.Since(began) == 0 {
					if _, err = b.Hold(context.Background(), doc); err == nil {
						break
					}
				}
				var elsewhere *PinnedError
				if (err == nil) == (name == "moved") || err != nil && !errors.As(err, &elsewhere) || time.Since(began) > moveTest+worldLate {
					w.t.Errorf("after %s: %v", time.Since(began), err)
				}
				if _, err := h.Commit(context.Background(), marked); err == nil {
					w.t.Error("it was moved although somebody else went on")
				}
			})
		})
	}
}

// Rule 16: whoever goes on without having been asked removes the mark first, so that the
// move fails: a holder that was frozen, and those that come, leave, or wait in vain.
func TestWhoeverChangesAMarkedPinEndsTheMove(t *testing.T) {
	changes := map[string]func(w *world, b *testNode, h *Hold, doc docid.Document){
		"a holder that was frozen thaws": func(w *world, b *testNode, _ *Hold, doc docid.Document) {
			b.link.Resume()
			eventually(w.t, time.Minute, "it is back in the pin", func() bool {
				p, ok := w.pin(doc)
				return ok && p.Moving == nil && len(p.Holders) == 2
			})
		},
		"a holder leaves": func(w *world, b *testNode, h *Hold, _ docid.Document) {
			b.link.Resume()
			b.patiently(func() error { _, err := h.Release(context.Background(), time.Now()); return err })
			eventually(w.t, time.Minute, "it has left", func() bool { p, ok := w.pin(h.doc); return ok && len(p.Holders) == 1 })
		},
		"a holder waits in vain": func(w *world, b *testNode, h *Hold, _ docid.Document) {
			b.link.Resume()
			b.patiently(func() error { return h.GoOn(context.Background()) })
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				a, b, _ := w.movers()
				doc := testDoc("x")
				mine, others := a.hold(doc), b.hold(doc)
				b.link.Sever()
				marked := a.mark(mine, "us-east-1")
				if err := a.stopOthers(doc, marked, time.Second); err == nil {
					w.t.Error("a node that is frozen, and has its lease, was not waited for")
				}
				if err := a.stopOthers(doc, marked, time.Minute); err != nil {
					w.t.Errorf("a node whose lease is gone was waited for: %v", err)
				}
				change(w, b, others, doc)
				if _, err := mine.Commit(context.Background(), marked); !errors.Is(err, ErrConflict) {
					w.t.Errorf("it was moved: %v", err)
				}
				if p, ok := w.pin(doc); !ok || p.Region != "eu-central-1" || p.Moving != nil {
					w.t.Errorf("the pin is %+v", p)
				}
			})
		})
	}
}

func TestOfTwoWhoMoveADocumentOneDoes(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b, _ := w.movers()
		w.node("ap-south-1", "d", moving)
		doc := testDoc("x")
		mine, others := a.hold(doc), b.hold(doc)
		first := a.mark(mine, "us-east-1")
		if _, err := others.Mark(context.Background(), "ap-south-1", moveTest); !errors.Is(err, ErrMoving) {
			w.t.Fatalf("marked twice: %v", err)
		}
		// The first takes too long: its mark counts no more, and neither does its move.
		time.Sleep(moveTest + 2*time.Second)
		second := b.mark(others, "ap-south-1")
		if _, err := mine.Commit(context.Background(), first); !errors.Is(err, ErrConflict) {
			w.t.Errorf("the first to mark moved it: %v", err)
		}
		if _, err := others.Commit(context.Background(), second); err != nil {
			w.t.Errorf("the second did not: %v", err)
		}
		if err := mine.GoOn(context.Background()); err != nil {
			w.t.Error(err)
		}
		if p, _ := a.heard(a.moved, doc); p.Region != "ap-south-1" {
			w.t.Errorf("the first was told of %+v", p)
		}
	})
}

// A write of a move that gets no answer may have landed, or may land yet.
func TestAMoveWithoutAnAnswerIsFoundOut(t *testing.T) {
	for name, o := range uncertain {
		for _, step := range []string{"mark", "commit"} {
			t.Run(name+" of the "+step, func(t *testing.T) {
				inVirtualTime(t, func(w *world) {
					a, _, _ := w.movers()
					doc := testDoc("x")
					h := a.hold(doc)
					var err error
					if step == "mark" {
						a.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
						_, err = h.Mark(context.Background(), "us-east-1", moveTest)
					} else {
						marked := a.mark(h, "us-east-1")
						a.link.Once(kvtest.Fault{Outcome: o}, true, "pin.")
						_, err = h.Commit(context.Background(), marked)
					}
					if err == nil {
						w.t.Fatal("it succeeded: nothing is tested")
					}
					a.patiently(func() error { return h.GoOn(context.Background()) })
					time.Sleep(time.Minute) // whatever may land has landed
					p, s := a.lookup(doc)
					_, told := a.heard(a.moved, doc)
					held := true
					select {
					case <-h.Done():
						held = false
					default:
					}
					here := s == Live && p.Region == "eu-central-1" && p.Moving == nil && held && !told
					gone := step == "commit" && !held && told && (s == Free || p.Region == "us-east-1")
					if !here && !gone {
						w.t.Errorf("held: %t, told that it moved: %t, and the pin is %s: %+v", held, told, s, p)
					}
				})
			})
		}
	}
}

func TestWhatCannotMoveStays(t *testing.T) {
	old := func(c *Config) {
		moving(c)
		c.About = func() About { return About{Can: []string{CanStore}} }
	}
	for name, prepare := range map[string]func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region){
		"to nowhere": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a, _, _ := w.movers()
			return a, a.hold(doc), "nowhere"
		},
		"to where it is": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a, _, _ := w.movers()
			return a, a.hold(doc), "eu-central-1"
		},
		"to a region without a node": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a, _, c := w.movers()
			c.leave()
			return a, a.hold(doc), "us-east-1"
		},
		"to another store": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a := w.node("eu-central-1", "a", moving)
			w.node("us-east-1", "c", moving, func(c *Config) { c.Store = func(docid.LicenseRegion) string { return "ANOTHER" } })
			return a, a.hold(doc), "us-east-1"
		},
		"to a region that is evacuated": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a, _, _ := w.movers()
			w.evacuate("us-east-1", true)
			eventually(w.t, time.Minute, "it is known", func() bool { return a.buckets[testLicense].regions.isEvacuated("us-east-1") })
			return a, a.hold(doc), "us-east-1"
		},
		"without a store": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a := w.node("eu-central-1", "a")
			w.node("us-east-1", "c")
			return a, a.hold(doc), "us-east-1"
		},
		"with a holder that would go on": func(w *world, doc docid.Document) (*testNode, *Hold, docid.Region) {
			a, _, _ := w.movers()
			w.node("eu-central-1", "old", old).hold(doc)
			return a, a.hold(doc), "us-east-1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(w *world) {
				doc := testDoc("x")
				n, h, to := prepare(w, doc)
				if _, err := h.Mark(context.Background(), to, moveTest); !errors.Is(err, ErrImmovable) {
					w.t.Errorf("%v", err)
				}
				if p, s := n.lookup(doc); s != Live || p.Moving != nil {
					w.t.Errorf("it is %s: %+v", s, p)
				}
			})
		})
	}
}

// evacuate marks a region as an operator does.
func (w *world) evacuate(region docid.Region, evacuated bool) {
	w.t.Helper()
	i := &Inspector{stores: map[docid.LicenseRegion]kv.Store{testLicense: w.bucket.Link()}}
	if changed, err := i.SetEvacuated(context.Background(), testLicense, region, evacuated); err != nil || !changed {
		w.t.Fatalf("mark %s: %t: %v", region, changed, err)
	}
}

func TestNothingBeginsInARegionThatIsEvacuated(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b, c := w.movers()
		doc, there := testDoc("new"), testDoc("there")
		a.hold(there)
		w.evacuate("eu-central-1", true)
		eventually(w.t, time.Minute, "both know", func() bool { return a.Evacuated(testLicense) && b.Evacuated(testLicense) })
		if _, err := a.Hold(context.Background(), doc); !errors.Is(err, ErrEvacuated) || errors.Is(err, ErrUnavailable) {
			w.t.Errorf("a document begins: %v", err)
		}
		b.hold(there) // what lives goes on
		found, err := c.Regions(context.Background())
		i := slices.IndexFunc(found, func(r RegionInfo) bool { return r.Region == "eu-central-1" })
		if err != nil || i < 0 || found[i].Status != RegionDraining || !found[i].Evacuated {
			w.t.Errorf("regions are %+v: %v", found, err)
		}
		release(w.t, c.hold(doc))
		w.evacuate("eu-central-1", false)
		eventually(w.t, time.Minute, "documents begin again", func() bool { _, err := a.Hold(context.Background(), testDoc("newer")); return err == nil })
	})
}

// Rule 16: so does a holder that has stopped and was never away: nothing in the pin says
// that it goes on but that the mark is gone.
func TestAHolderThatGoesOnRemovesTheMark(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		a, b, _ := w.movers()
		doc := testDoc("x")
		mine, others := a.hold(doc), b.hold(doc)
		marked := a.mark(mine, "us-east-1")
		if err := a.stopOthers(doc, marked, patience(time.Minute)); err != nil {
			w.t.Fatal(err)
		}
		b.patiently(func() error { return others.GoOn(context.Background()) })
		if _, err := mine.Commit(context.Background(), marked); !errors.Is(err, ErrConflict) {
			w.t.Errorf("it was moved: %v", err)
		}
		if p, ok := w.pin(doc); !ok || p.Region != "eu-central-1" || p.Moving != nil {
			w.t.Errorf("the pin is %+v", p)
		}
	})
}
