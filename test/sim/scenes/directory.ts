/** Scenes of claims: who may have a connection of a client id, and what becomes of the others. */
export const directoryScenes = {};
