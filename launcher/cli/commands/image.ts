// `leet image …`: what guests boot.
import type { Command } from 'commander'
import { addCompose } from './image/compose.ts'
import { addImport } from './image/import.ts'
import { addList } from './image/list.ts'
import { addPrune, addRemove } from './image/remove.ts'
import { addShow } from './image/show.ts'

/** Adds `leet image` with its commands. */
export function addImageCommands(program: Command): void {
  const image = program.command('image').description('what guests boot')
  addCompose(image)
  addList(image)
  addShow(image)
  addRemove(image)
  addPrune(image)
  addImport(image)
}
