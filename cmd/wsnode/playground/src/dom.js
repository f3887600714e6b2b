/**
 * Makes an element. Attributes that are functions are listeners (`onclick`), false and null ones are left out.
 *
 * @param {string} name
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 */
export const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name)
  assign(made, attributes)
  made.append(...children.filter((child) => child != null && child !== false))
  return made
}

/** The same for SVG. */
export const svg = (name, attributes = {}, ...children) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  assign(made, attributes)
  made.append(...children)
  return made
}

const assign = (made, attributes) => {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key.slice(2), value)
    else if (value != null && value !== false) made.setAttribute(key, value === true ? '' : value)
  }
}

/** @param {string} id */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id))
