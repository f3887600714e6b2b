// Author is somebody who writes a text.
import * as Y from 'yjs'

const SYLLABLES = ['an', 'be', 'cor', 'de', 'el', 'fi', 'gra', 'hu', 'in', 'ka', 'lo', 'mé', 'no', 'or', 'pré', 'qui', 'ro', 'st', 'tü', 'um', 've', 'жи', '日', 'za']

// Author edits one text as people do: in bursts at a cursor.
export class Author {
  constructor (session, index) {
    this.session = session
    this.index = index
    this.pages = 0
    this.edits = 0
    this.todo = [] // edits of the burst that is going on
    this.open(new Y.Doc())
  }

  int (n) { return Math.floor(this.session.rnd() * n) }
  chance (p) { return this.session.rnd() < p }

  // open is the author's page loading: a new client id.
  open (doc) {
    this.doc = doc
    doc.clientID = 1000003 * (1 + this.pages++) + 7919 * this.index
    doc.on('update', (u, origin) => { if (origin !== 'remote') this.session.tell(this, u) })
    this.begin()
  }

  // begin looks for where to write.
  begin () {
    this.text = this.doc.getText('text')
    this.at = this.relative(this.text.length)
  }

  reload () {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(this.doc), 'remote')
    this.doc.destroy()
    this.open(doc)
  }

  hear (u) { Y.applyUpdate(this.doc, u, 'remote') }

  // The cursor stays where it is while others type before it.
  relative (i) { return Y.createRelativePositionFromTypeIndex(this.text, i, -1) }
  get cursor () { return Y.createAbsolutePositionFromRelativePosition(this.at, this.doc)?.index ?? this.text.length }

  insert (s) {
    const i = this.cursor
    this.text.insert(i, s)
    this.at = this.relative(i + s.length)
  }

  // remove deletes n characters before the cursor.
  remove (n) {
    const i = this.cursor
    n = Math.min(n, i)
    if (n > 0) this.text.delete(i - n, n)
    this.at = this.relative(i - n)
    return n > 0
  }

  word () {
    let w = ''
    for (let n = 1 + this.int(4); n > 0; n--) w += SYLLABLES[this.int(SYLLABLES.length)]
    return w
  }

  // step makes one edit, which is one update.
  step () {
    const before = this.edits
    while (this.edits === before) {
      while (this.todo.length === 0) this.plan()
      if (this.todo.shift()() !== false) this.edits++
    }
    if (this.edits % this.session.reload === 0) this.reload()
  }

  type (s) { for (const c of s) this.todo.push(() => this.insert(c)) }
  erase (n) { while (n-- > 0) this.todo.push(() => this.remove(1)) }

  // plan thinks of the next burst.
  plan () {
    const r = this.session.rnd()
    if (r < 0.72) this.sentence()
    else if (r < 0.82) this.jump()
    else if (r < 0.88) this.erase(1 + this.int(25)) // holds backspace
    else if (r < 0.94) this.todo.push(() => this.remove(5 + this.int(120))) // deletes what it selected
    else if (r < 0.97) this.move()
    else this.paste()
  }

  sentence () {
    for (let n = 1 + this.int(12); n > 0; n--) {
      const w = this.word()
      this.type(w)
      if (this.chance(0.12)) { // mistyped, seen at once
        const wrong = 1 + this.int(Math.min(4, w.length))
        this.erase(wrong)
        this.type(w.slice(-wrong))
      }
      this.type(this.chance(0.1) ? ', ' : ' ')
    }
    if (this.chance(0.5)) {
      this.erase(1)
      this.type(this.chance(0.3) ? '.\n' : '. ')
    }
  }

  // jump puts the cursor elsewhere: mostly near, or to the end, which edits nothing.
  jump () {
    const end = this.text.length
    const r = this.session.rnd()
    const to = r < 0.45 ? end : r < 0.85 ? this.cursor + this.int(400) - 250 : this.int(end + 1)
    this.at = this.relative(Math.max(0, Math.min(end, to)))
    this.sentence()
  }

  some (most) {
    const from = this.int(this.text.length)
    return this.text.toString().slice(from, from + 1 + this.int(most))
  }

  paste () {
    const s = this.chance(0.5) ? this.some(600) : Array.from({ length: 5 + this.int(80) }, () => this.word()).join(' ')
    if (s !== '') this.todo.push(() => this.insert(s))
  }

  // move cuts a part and pastes it elsewhere.
  move () {
    const n = Math.min(this.cursor, 10 + this.int(200))
    if (n === 0) return
    const s = this.text.toString().slice(this.cursor - n, this.cursor)
    this.todo.push(() => this.remove(n), () => {
      this.at = this.relative(this.int(this.text.length + 1))
      this.insert(s)
    })
  }
}
