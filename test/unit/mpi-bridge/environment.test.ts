import { describe, expect, it } from 'vitest'
import {
  exportedVariables,
  forwardEnvironment,
  mpiSettings,
  type RankSurroundings,
} from '../../../mpi-bridge/index.ts'

const onHost: RankSurroundings = {
  inGuest: false,
  together: false,
  devices: false,
  oversubscribed: false,
}
const inGuest: RankSurroundings = { ...onHost, inGuest: true }
const named = (mpi: 'openmpi' | 'mpich' | 'none', where: RankSurroundings) =>
  Object.fromEntries(mpiSettings(mpi, where).map(({ name, value }) => [name, value]))

describe('the environment of ranks', () => {
  const user = {
    PATH: '/bin',
    SSH_AUTH_SOCK: '/run/agent',
    SLURM_JOB_ID: '7',
    OMPI_MCA_btl: 'tcp,self',
    PMI_RANK: '3',
  }

  it('leaves out sockets and other launchers’ words in a guest, and says why', () => {
    const { variables, denied } = forwardEnvironment(user, true)
    expect(variables).toEqual({ PATH: '/bin', OMPI_MCA_btl: 'tcp,self' })
    expect(denied.map(({ name }) => name).sort()).toEqual(['PMI_RANK', 'SLURM_JOB_ID', 'SSH_AUTH_SOCK'])
    expect(denied.every(({ why }) => why.length > 0)).toBe(true)
  })
  it('keeps sockets on the bare host, where they lead somewhere', () => {
    expect(forwardEnvironment(user, false).variables).toHaveProperty('SSH_AUTH_SOCK')
  })
  it('exports by name or with a value, and skips what is unset', () => {
    expect(exportedVariables(['SLURM_JOB_ID', 'A=b=c', 'E=', 'NONE'], user)).toEqual({
      SLURM_JOB_ID: '7',
      A: 'b=c',
      E: '',
    })
  })
  it('keeps MPI off the control NIC when guests share a segment', () => {
    const segment = { interfaceName: 'eth1', cidr: '10.77.0.0/16', address: '10.77.1.1' }
    const openmpi = mpiSettings('openmpi', { ...inGuest, segment })
    expect(openmpi).toContainEqual(
      expect.objectContaining({ name: 'OMPI_MCA_btl_tcp_if_include', value: '10.77.0.0/16' }),
    )
    expect(named('mpich', onHost)).not.toHaveProperty('UCX_NET_DEVICES')
  })
  it('spares ranks the search for devices where there are none, and only there', () => {
    for (const where of [inGuest, onHost]) {
      expect(named('openmpi', where)).toMatchObject({
        OMPI_MCA_pml: 'ob1',
        HWLOC_COMPONENTS: expect.stringContaining('-linuxio'),
      })
    }
    const withDevices = named('openmpi', { ...onHost, devices: true })
    expect(withDevices).not.toHaveProperty('OMPI_MCA_pml')
    expect(withDevices.HWLOC_COMPONENTS).not.toContain('io')
    expect(withDevices.HWLOC_PLUGINS_BLACKLIST).not.toContain('pci')
  })
  it('gives what may be a script that uses MPI what either MPI needs', () => {
    const segment = { interfaceName: 'eth0', cidr: '10.77.0.0/16', address: '10.77.1.1' }
    expect(named('none', { ...inGuest, segment })).toMatchObject({
      OMPI_MCA_btl_tcp_if_include: '10.77.0.0/16',
      UCX_NET_DEVICES: 'eth0',
    })
    // Ranks of mpi4py that share processors take minutes otherwise.
    expect(named('none', { ...onHost, oversubscribed: true })).toMatchObject({
      OMPI_MCA_mpi_yield_when_idle: '1',
      HWLOC_COMPONENTS: expect.any(String),
    })
  })
  it('has UCX use memory alone where all ranks are on one machine without a fabric, or in one guest', () => {
    const together = { ...onHost, together: true }
    expect(named('mpich', together)).toHaveProperty('UCX_TLS', 'sysv,cma,self')
    expect(named('mpich', { ...together, devices: true })).not.toHaveProperty('UCX_TLS')
    expect(named('mpich', onHost)).not.toHaveProperty('UCX_TLS')
    expect(named('mpich', { ...together, inGuest: true })).toHaveProperty('UCX_TLS', 'sysv,cma,self')
    expect(named('mpich', inGuest)).toHaveProperty('UCX_TLS', 'tcp,sysv,cma,self')
  })
  it('tells Open MPI when ranks share processors', () => {
    const crowded = { ...onHost, oversubscribed: true }
    expect(named('openmpi', crowded)).toHaveProperty('OMPI_MCA_mpi_yield_when_idle', '1')
    expect(named('openmpi', onHost)).not.toHaveProperty('OMPI_MCA_mpi_yield_when_idle')
  })
})
