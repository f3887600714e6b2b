// Authors of documents with types in them: of blocks of formatted text, as editors on
// ProseMirror keep them (y-prosemirror, BlockNote), and of a drawing, which is a map of maps.
import * as Y from 'yjs'
import { Author } from './author.mjs'

const MARKS = ['bold', 'italic', 'link', 'textColor']

// Blocks writes in one block at a time: blockGroup > blockContainer > paragraph > text.
export class Blocks extends Author {
  get blocks () { return this.doc.getXmlFragment('blocks') }

  // begin has the first author of a document make its first block.
  begin () {
    if (this.blocks.length === 0 && this.index === 0) this.append(0, [])
    this.enter(this.int(this.blocks.length))
  }

  // enter goes into a block, if there is one yet.
  enter (i) {
    this.block = i < this.blocks.length ? this.blocks.get(i) : null
    this.text = this.block?.get(0).get(0)
    if (this.text) this.at = this.relative(this.text.length)
  }

  // append makes a block behind others, of a text with its formats.
  append (i, delta) {
    const container = new Y.XmlElement('blockContainer')
    container.setAttribute('id', `${this.index}-${this.int(2 ** 31)}`)
    container.setAttribute('backgroundColor', 'default')
    const heading = this.chance(0.2)
    const paragraph = new Y.XmlElement(heading ? 'heading' : 'paragraph')
    paragraph.setAttribute('textAlignment', 'left')
    if (heading) paragraph.setAttribute('level', 1 + this.int(3))
    const text = new Y.XmlText()
    text.applyDelta(delta)
    paragraph.insert(0, [text])
    container.insert(0, [paragraph])
    this.blocks.insert(i, [container])
  }

  step () {
    if (!this.text || this.text.doc === null || this.block.parent === null || this.text._item.deleted) {
      this.todo = []
      this.enter(this.int(this.blocks.length))
      if (!this.text) return // nobody has made a block yet
    }
    super.step()
  }

  place () { return this.blocks.toArray().indexOf(this.block) }

  plan () {
    const r = this.session.rnd()
    if (r < 0.25) this.sentence()
    else if (r < 0.32) this.enter(this.int(this.blocks.length))
    else if (r < 0.36) this.erase(1 + this.int(25))
    else if (r < 0.68) this.todo.push(() => this.split())
    else if (r < 0.84) this.todo.push(() => this.mark())
    else if (r < 0.9) this.align(['left', 'center', 'right'][this.int(3)])
    else if (r < 0.95) this.todo.push(() => this.drag())
    else this.todo.push(() => this.remove(5 + this.int(120)))
  }

  // split is the key Enter: what stands behind the cursor goes into a block of its own.
  split () {
    const i = this.cursor
    const rest = this.text.toDelta().reduce(([at, out], { insert, attributes }) => {
      const s = insert.slice(Math.max(0, i - at))
      return [at + insert.length, s === '' ? out : [...out, { insert: s, attributes }]]
    }, [0, []])[1]
    const next = this.place() + 1
    this.doc.transact(() => {
      if (i < this.text.length) this.text.delete(i, this.text.length - i)
      this.append(next, rest)
    })
    this.enter(next)
    this.at = this.relative(0)
  }

  align (to) { this.todo.push(() => this.block.get(0).setAttribute('textAlignment', to)) }

  // mark formats some words, or takes a format away.
  mark () {
    const n = this.text.length
    if (n < 2) return false
    const from = this.int(n - 1)
    const mark = MARKS[this.int(MARKS.length)]
    const format = { [mark]: this.chance(0.2) ? null : mark === 'link' ? { href: 'https://example.com/' + this.word() } : {} }
    return this.tells(() => this.text.format(from, 1 + this.int(Math.min(40, n - from)), format))
  }

  // tells makes an edit, and reports whether that changed anything.
  tells (edit) {
    const before = this.session.log.length
    edit()
    return this.session.log.length > before
  }

  // drag moves a block elsewhere: it is deleted, and one like it inserted.
  drag () {
    if (this.blocks.length < 2) return false
    const from = this.place()
    const delta = this.text.toDelta()
    const to = this.int(this.blocks.length - 1)
    this.doc.transact(() => {
      this.blocks.delete(from, 1)
      this.append(to, delta)
    })
    this.enter(to)
  }
}

// Shapes draws: each shape is a map, and dragging one sets its place again and again.
export class Shapes extends Author {
  get shapes () { return this.doc.getMap('shapes') }
  begin () {}

  some () {
    const ids = [...this.shapes.keys()].sort()
    return ids.length === 0 ? null : ids[this.int(ids.length)]
  }

  plan () {
    const id = this.some()
    const r = this.session.rnd()
    if (id === null || r < 0.2) return this.todo.push(() => this.draw())
    const shape = () => this.shapes.get(id)
    if (r < 0.7) {
      for (let n = 2 + this.int(20); n > 0; n--) {
        this.todo.push(() => {
          if (!shape()) return false
          this.doc.transact(() => {
            shape().set('x', this.int(2000) / 4)
            shape().set('y', this.int(2000) / 4)
          })
        })
      }
    } else if (r < 0.85) {
      const words = this.word()
      for (const c of words) this.todo.push(() => shape() ? shape().get('label').insert(shape().get('label').length, c) : false)
    } else if (r < 0.95) {
      this.todo.push(() => shape() ? shape().set('style', { color: this.word(), dash: this.chance(0.5), size: this.int(4) }) : false)
    } else {
      this.todo.push(() => shape() ? this.shapes.delete(id) : false)
    }
  }

  draw () {
    const shape = new Y.Map()
    for (const [k, v] of Object.entries({ type: 'rectangle', x: this.int(500), y: this.int(500), w: this.int(99), h: this.int(99), rotation: 0 })) shape.set(k, v)
    shape.set('style', { color: 'black', dash: false, size: 1 })
    shape.set('label', new Y.Text())
    this.shapes.set(`shape:${this.index}-${this.int(2 ** 31)}`, shape)
  }
}
