// A chart of the last minutes, by uPlot, in the colours of the page.

import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export interface Line {
  label: string
  color: string
  values: (number | null)[]
}

const HEIGHT = 170

export function Chart({ title, unit, times, lines, dark }: { title: string; unit: string; times: number[]; lines: Line[]; dark: boolean }): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const labels = lines.map((line) => line.label).join()
  const data = (): uPlot.AlignedData => [times, ...lines.map((line) => line.values)]
  useEffect(() => {
    if (!box.current) return
    const style = getComputedStyle(document.documentElement)
    const color = (name: string) => style.getPropertyValue(name).trim()
    const axis = { stroke: color('--faint'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui' }
    plot.current = new uPlot(
      {
        width: box.current.clientWidth, height: HEIGHT, padding: [10, 6, 0, 0],
        legend: { show: true, live: false }, cursor: { y: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] } },
        axes: [{ ...axis }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => `${tick}${unit}`) }],
        series: [{}, ...lines.map((line) => ({ label: line.label, stroke: color(line.color), width: 1.5, points: { show: false } }))],
      },
      data(), box.current,
    )
    const sized = new ResizeObserver(() => box.current && plot.current?.setSize({ width: box.current.clientWidth, height: HEIGHT }))
    sized.observe(box.current)
    return () => {
      sized.disconnect()
      plot.current?.destroy()
    }
  }, [labels, dark])
  useEffect(() => plot.current?.setData(data()))
  return (
    <section class="card">
      <h2>{title}</h2>
      <div ref={box} role="img" aria-label={`${title}: ${lines.map((line) => `${line.label} ${line.values.at(-1)?.toFixed(1) ?? 'unknown'}${unit}`).join(', ')}`} />
    </section>
  )
}
