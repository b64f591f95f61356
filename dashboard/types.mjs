// Writes src/openapi.ts, the types of the admin API, from docs/openapi.json. It is part of the build, so the types cannot be of another
// version than the document.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const source = new URL('../docs/openapi.json', import.meta.url)
const target = new URL('src/openapi.ts', import.meta.url)

/** The type of a schema. */
function type(schema) {
  if (schema === true || Object.keys(schema).length === 0) return 'unknown'
  if (schema.$ref) return schema.$ref.split('/').at(-1)
  if ('const' in schema) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  const choice = schema.anyOf ?? schema.oneOf
  if (choice) return choice.map(type).join(' | ')
  const names = [schema.type ?? []].flat()
  return names.length ? names.map((name) => ofName(name, schema)).join(' | ') : 'unknown'
}

function ofName(name, schema) {
  switch (name) {
    case 'integer':
      return 'number'
    case 'array':
      if (schema.prefixItems) return `[${schema.prefixItems.map(type).join(', ')}]`
      return `Array<${type(schema.items ?? {})}>`
    case 'object':
      if (schema.properties) return fields(schema, '  ')
      return `Record<string, ${type(schema.additionalProperties ?? {})}>`
    default:
      return name // string, number, boolean, null
  }
}

function fields(schema, indent) {
  const required = new Set(schema.required)
  const lines = Object.entries(schema.properties).map(([name, of]) => {
    const key = /^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name)
    return `${said(of, indent)}${indent}${key}${required.has(name) ? '' : '?'}: ${type(of)}\n`
  })
  return `{\n${lines.join('')}${indent.slice(2)}}`
}

/** The description of a schema as a comment. */
function said(schema, indent) {
  if (!schema.description || schema.$ref) return ''
  return `${indent}/** ${schema.description.replaceAll('*/', '* /').replaceAll('\n', ' ')} */\n`
}

const { components } = JSON.parse(readFileSync(source, 'utf8'))
let text = '// Made from docs/openapi.json by types.mjs. Do not edit it.\n'
for (const [name, schema] of Object.entries(components.schemas)) {
  text += `\n${said(schema, '')}export type ${name} = ${type(schema)}\n`
}
// Written only if it differs, so that `make` sees no change where there is none.
if (!existsSync(target) || readFileSync(target, 'utf8') !== text) writeFileSync(target, text)
