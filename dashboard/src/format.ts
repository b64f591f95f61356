// Numbers and times, as people read them. Times are in the viewer's own zone.

export function rate(value: number): string {
  if (value === 0) return '0'
  if (value < 0.1) return '<0.1'
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString()
}

export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  if (value < 1) return `${value.toFixed(2)} ms`
  if (value < 100) return `${value.toFixed(1)} ms`
  return value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`
}

export function share(value: number): string {
  if (value === 0) return '0 %'
  return value < 0.001 ? '<0.1 %' : `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`
}

export function count(value: number): string {
  return value.toLocaleString()
}

export function bytes(value: number | null): string {
  if (value === null) return '–'
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

export function seconds(value: number): string {
  if (value < 90) return `${Math.round(value)} s`
  if (value < 5400) return `${Math.round(value / 60)} min`
  if (value < 172_800) return `${Math.round(value / 3600)} h`
  return `${Math.round(value / 86_400)} days`
}

export function time(at: string): string {
  return new Date(at).toLocaleTimeString()
}

export function moment(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
}

export function ago(at: string, now = Date.now()): string {
  return `${seconds(Math.max(0, (now - Date.parse(at)) / 1000))} ago`
}
