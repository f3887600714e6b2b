// Colours that carry white text with a contrast of at least 4.5 : 1.
const people = [
  ['Ada', '#b4341a'], ['Bob', '#0f6b63'], ['Cleo', '#6d28d9'], ['Dara', '#1d5fb8'],
  ['Emil', '#8a5a00'], ['Fay', '#a8216b'], ['Gus', '#3f6212'], ['Hana', '#475569']
]

/** @param {number} index */
export const person = (index) => {
  const [name, color] = people[index % people.length]
  const round = Math.floor(index / people.length)
  return { name: round ? `${name} ${round + 1}` : name, color, colorLight: color + '33' }
}
