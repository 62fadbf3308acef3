import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hasDevices } from '../../../launcher/plan/devices.ts'

describe('devices of a node', () => {
  let root = ''
  beforeEach(() => {
    root = `${mkdtempSync(join(tmpdir(), 'leet-devices-'))}/`
  })
  afterEach(() => rmSync(root, { recursive: true }))

  it('are none where the kernel names none', () => {
    expect(hasDevices(root)).toBe(false)
    mkdirSync(`${root}sys/class/infiniband`, { recursive: true })
    expect(hasDevices(root)).toBe(false)
  })
  it('are not the graphics of a console', () => {
    mkdirSync(`${root}sys/class/drm/card0`, { recursive: true })
    expect(hasDevices(root)).toBe(false)
  })
  it.each(['sys/class/infiniband/mlx5_0', 'sys/class/cxi/cxi0', 'sys/class/drm/renderD128'])(
    'are seen in %s',
    (place) => {
      mkdirSync(root + place, { recursive: true })
      expect(hasDevices(root)).toBe(true)
    },
  )
})
